// Where the sidecar is: environment, else the file that `claude-k8s paperclip install` has written beside the module.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { ask, open } from "./http.js";

const FILE = new URL("../claude-k8s.json", import.meta.url);
const DEFAULT_URL = "http://127.0.0.1:8642";
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** Milliseconds. The file may change them: a test cannot wait for minutes. */
const TIMES = {
  retry: 250, // the first delay of a backoff
  retryMost: 15_000, // and the longest
  patience: 15_000, // without an answer
  silence: 60_000, // of a stream that says at least a ping each 15 s
  poll: 3_000, // between two looks at a run's row
  lost: 360_000, // how long a row says `running` of a run that its server has lost (trap 8: 5.5 min)
  gone: 30_000, // how long a sidecar must say that it does not know the run
  fresh: 60_000, // how long what was asked for a form is not asked again
  quick: 2_500, // what a form waits for an answer
};

class Unusable extends Error {}

function configured() {
  try {
    return JSON.parse(readFileSync(FILE, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return {};
    throw new Unusable(`${FILE.pathname}: ${error.message}`);
  }
}

/** The sidecar, as it is configured now. Throws where it must not be spoken to. */
export function sidecar() {
  const file = configured();
  const env = process.env;
  const url = env.CLAUDE_K8S_URL || file.url || DEFAULT_URL;
  refuseOpenRoad(url, env.CLAUDE_K8S_ALLOW_HTTP === "1" || file.allowHttp === true);
  return new Sidecar(url, env.CLAUDE_K8S_TOKEN, env.CLAUDE_K8S_TOKEN_FILE || file.tokenFile);
}

export function times() {
  try {
    return { ...TIMES, ...configured().times };
  } catch {
    return TIMES; // what is wrong with the file is said where the sidecar is asked
  }
}

function refuseOpenRoad(url, allowed) {
  const { protocol, hostname } = new URL(url);
  if (protocol === "https:" || (protocol === "http:" && (allowed || LOOPBACK.test(hostname)))) return;
  // Every run carries resolved secrets and a token of the control plane (trap 4).
  const instead = "use https, or, where the network can be trusted, set CLAUDE_K8S_ALLOW_HTTP=1";
  throw new Unusable(`${url}: a run's secrets do not leave this machine by plain HTTP: ${instead}`);
}

class Sidecar {
  #token;
  #tokenFile;

  constructor(url, token, tokenFile) {
    this.url = url;
    this.#token = token;
    this.#tokenFile = tokenFile;
  }

  /** A request's response, whatever its status. */
  async open(method, path, options = {}) {
    return open(this.url, method, path, { ...options, headers: { ...options.headers, ...(await this.#credentials()) } });
  }

  /** A request's JSON. `body` is an object, or JSON as text. Throws an `Answer`, or what the connection throws. */
  async ask(method, path, { body, ...options } = {}) {
    const headers = { ...(body && { "content-type": "application/json" }), ...(await this.#credentials()) };
    const sent = typeof body === "object" ? JSON.stringify(body) : body;
    return ask(this.url, method, path, { ...options, headers, body: sent });
  }

  /** Read each time: a mounted Secret changes under its readers. */
  async #credentials() {
    const token = this.#token || (this.#tokenFile ? (await readFile(this.#tokenFile, "utf8")).trim() : "");
    return token ? { authorization: `Bearer ${token}` } : {};
  }
}
