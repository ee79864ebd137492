// What stands for Paperclip's server in a test: loads the module, calls it as told by lines of JSON on stdin, and prints
// a line for each call that the module makes and for each answer.
import { createInterface } from "node:readline";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
process.on("unhandledRejection", (error) => say({ unhandled: String(error?.stack ?? error) }));
process.on("uncaughtException", (error) => say({ uncaught: String(error?.stack ?? error) }));
process.on("warning", (warning) => say({ warning: String(warning) }));

let adapter = (await import(process.argv[2])).createServerAdapter();
const controllers = new Map();
const held = []; // what resolves calls that a test holds up

/** A run's context: data of the test, and Paperclip's functions. `without` are those that this version lacks. */
function contextOf({ data, without = [], fails = [], holds = [] }) {
  const controller = new AbortController();
  controllers.set(data.runId, controller);
  const called = (name) => async (...told) => {
    say({ called: name, run: data.runId, told });
    if (holds.includes(name)) await new Promise((resolve) => held.push(resolve));
    if (fails.includes(name)) throw new Error(`${name} fails, as the test wants`);
  };
  const names = ["onLog", "onMeta", "onEvent", "onRuntimeProgress", "onSpawn", "onCancellationReady"];
  const functions = Object.fromEntries(names.map((name) => [name, called(name)]));
  const onDispatch = () => say({ called: "onDispatch", run: data.runId, told: [] });
  const servers = data.runtimeMcp;
  const runtimeMcp = servers && { getServers: () => servers };
  const ctx = { ...functions, onDispatch, signal: controller.signal, ...data, runtimeMcp };
  for (const name of without) delete ctx[name];
  return ctx;
}

/** What Paperclip's page does with a parser: its text is the body of a function. */
function parserOf(source) {
  const exports = {};
  const make = new Function("exports", "module", "self", "globalThis", `"use strict";\n{\n${source}\n}`);
  make(exports, { exports }, undefined, undefined);
  return exports.parseStdoutLine;
}

const todo = {
  execute: async ({ context }) => adapter.execute(contextOf(context)),
  abort: async ({ run, reason }) => controllers.get(run).abort(new Error(reason)),
  release: async () => held.splice(0).forEach((resolve) => resolve()),
  call: async ({ path, told = [] }) => {
    const found = path.split(".").reduce((place, name) => place[name], adapter);
    return typeof found === "function" ? found(...told) : found;
  },
  parse: async ({ source, lines, ts }) => lines.map((line) => parserOf(source)(line, ts)),
  reload: async () => {
    adapter = (await import(`${process.argv[2]}?t=${Date.now()}`)).createServerAdapter();
    return adapter.type;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const done = (answer) => say({ done: asked.id, answer: answer ?? null });
  todo[asked.do](asked).then(done, (error) => say({ done: asked.id, threw: String(error?.message ?? error) }));
}
