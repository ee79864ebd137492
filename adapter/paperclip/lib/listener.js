// Paperclip's own functions, which a run tells its news. None of them can end a run by failing.
import { StringDecoder } from "node:string_decoder";

const LONGEST_PIECE = 32 * 1024; // characters; Paperclip cuts the middle out of what is longer than 64 Ki

export class Listener {
  #ctx;
  #decoders = { stdout: new StringDecoder("utf8"), stderr: new StringDecoder("utf8") };
  #failed = false;

  constructor(ctx) {
    this.#ctx = ctx;
  }

  /** A piece of log: text, or bytes that are not UTF-8 by themselves. */
  async log({ stream, text, base64 }) {
    const bytes = base64 === undefined ? Buffer.from(text) : Buffer.from(base64, "base64");
    await this.#write(stream, this.#decoders[stream].write(bytes));
  }

  /** The log is over: half a character that is left is told too. */
  async flush() {
    for (const [stream, decoder] of Object.entries(this.#decoders)) await this.#write(stream, decoder.end());
  }

  async meta(meta) {
    await this.#call("onMeta", meta);
  }

  async event({ kind, message, data }) {
    await this.#event(`claude_k8s.${kind}`, "info", message, data);
  }

  dispatched() {
    this.#ctx.onDispatch?.();
  }

  /** What is wrong between here and the sidecar, said where it is seen. */
  async warn(message) {
    if (this.#ctx.onEvent) await this.#event("claude_k8s.sidecar", "warn", message, {});
    else await this.#call("onLog", "stderr", `[claude-k8s] ${message}\n`);
  }

  async #write(stream, text) {
    // Postgres takes no NUL, and the end of the log goes there.
    for (const piece of pieces(text.replaceAll("\0", "\uFFFD"))) await this.#call("onLog", stream, piece);
  }

  async #event(eventType, level, message, payload) {
    await this.#call("onEvent", { eventType, stream: "system", level, message, payload });
  }

  async #call(name, ...told) {
    try {
      await this.#ctx[name]?.(...told);
    } catch (error) {
      if (!this.#failed) console.error(`claude-k8s: run ${this.#ctx.runId}: ${name} failed: ${error.message}`);
      this.#failed = true; // said once: a database that is away fails each call
    }
  }
}

/** Without a character being cut in two. */
function* pieces(text) {
  for (let at = 0; at < text.length; ) {
    let end = Math.min(at + LONGEST_PIECE, text.length);
    if (end < text.length && /[\uD800-\uDBFF]/.test(text[end - 1])) end -= 1;
    yield text.slice(at, end);
    at = end;
  }
}
