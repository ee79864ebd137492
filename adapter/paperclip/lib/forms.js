// What Paperclip asks beside runs. Its forms ask often, also while the sidecar is away, and must be shown all the same.
import { readFileSync } from "node:fs";
import { sidecar, times } from "./settings.js";

/** What the sidecar of this version would say. Generated: `make docs`. */
export const defaults = JSON.parse(readFileSync(new URL("defaults.json", import.meta.url), "utf8"));

const cache = new Map();

/** The sidecar's answer, a recent one, or, where there is none, the last one, or the one of this version (trap 2). */
async function cached(path, otherwise) {
  const known = cache.get(path);
  const { fresh, quick } = times();
  if (known && Date.now() - known.at < fresh) return known.answer;
  const answer = await asked(path, quick).catch(() => known?.answer ?? otherwise);
  cache.set(path, { answer, at: Date.now() });
  return answer;
}

const asked = async (path, patience) => sidecar().ask("GET", path, { patience });

export async function getConfigSchema() {
  const { uiSchema } = await cached("/v1/schema", { uiSchema: defaults.uiSchema });
  return uiSchema ?? defaults.uiSchema;
}

export async function listModels() {
  const { models } = await cached("/v1/models", { models: defaults.models });
  return models ?? defaults.models;
}

export async function refreshModels() {
  cache.delete("/v1/models");
  return listModels();
}

/** The model that agents get whose configuration names none, if the sidecar's environment says which. */
export async function detectModel() {
  const { detected } = await cached("/v1/models", {});
  return detected ?? null;
}

export const listSkills = (ctx) => skills("list", ctx, ctx);

export const syncSkills = (ctx, desiredSkills) => skills("sync", ctx, { ...ctx, desiredSkills });

async function skills(what, ctx, body) {
  try {
    return await sidecar().ask("POST", `/v1/skills/${what}`, { body, patience: times().quick });
  } catch (error) {
    return unknownSkills(ctx, `the sidecar cannot be asked for skills: ${error.message}`);
  }
}

function unknownSkills({ config, adapterType }, warning) {
  const named = config?.paperclipSkillSync?.desiredSkills;
  const desiredSkills = (Array.isArray(named) ? named : []).map((one) => one?.key ?? one);
  const snapshot = { adapterType, supported: true, mode: "ephemeral", desiredSkills };
  return { ...snapshot, entries: [], warnings: [warning] };
}

export async function testEnvironment({ executionTarget, ...ctx }) {
  try {
    // It asks the cluster a dozen things, so it takes longer than what fills a form.
    return await sidecar().ask("POST", "/v1/preflight", { body: ctx, patience: 4 * times().patience });
  } catch (error) {
    return unreachable(error);
  }
}

function unreachable(error) {
  const check = {
    code: error.status === 401 || error.status === 403 ? "sidecar_unauthorized" : "sidecar_unreachable",
    level: "error",
    message: `The sidecar cannot be asked: ${error.message}`,
    hint: "Start `claude-k8s serve`, and see that its address and token file are those of claude-k8s.json beside the module, or of CLAUDE_K8S_URL and CLAUDE_K8S_TOKEN_FILE.",
  };
  return { adapterType: "claude_k8s", status: "fail", checks: [check], testedAt: new Date().toISOString() };
}
