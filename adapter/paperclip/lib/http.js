// HTTP by node:http. Not fetch: undici ends a response that is silent for 300 s, headers or body.
import http from "node:http";
import https from "node:https";
import { StringDecoder } from "node:string_decoder";

const LONGEST_ANSWER = 16 * 1024 * 1024;

/** An answer that is none of the 2xx. `message` and `field` are the server's own, where it has given them. */
export class Answer extends Error {
  constructor(status, body, headers = {}) {
    const said = body?.error;
    super((typeof said === "string" ? said : said?.message) || `HTTP ${status}`);
    this.status = status;
    this.field = said?.field;
    this.retryAfter = 1000 * Number(headers["retry-after"]) || 0;
  }
}

/** Sends a request; the response with its headers, whatever its status. `patience`: milliseconds without a byte. */
export function open(base, method, path, { body, headers, patience = 15_000, signal } = {}) {
  const url = new URL(base.replace(/\/+$/, "") + path);
  const { request } = url.protocol === "https:" ? https : http;
  return new Promise((resolve, reject) => {
    // A connection of its own: a kept one may have been closed by the other side in this very moment.
    const call = request(url, { method, headers, signal, agent: false, timeout: patience });
    call.on("timeout", () => call.destroy(new Error(`no word for ${call.socket.timeout / 1000} s`)));
    call.on("error", reject);
    call.on("response", resolve);
    call.end(body);
  });
}

/** The JSON that is answered. Throws an `Answer` for what is none of the 2xx, and whatever the connection throws. */
export async function ask(base, method, path, options) {
  const response = await open(base, method, path, options);
  const body = parsed(await text(response));
  if (response.statusCode < 200 || response.statusCode > 299) {
    throw new Answer(response.statusCode, body, response.headers);
  }
  return body;
}

/** The objects of a stream of JSON lines. What is torn at its end is left out. */
export async function* lines(response) {
  const decoder = new StringDecoder("utf8");
  const held = [];
  for await (const bytes of response) {
    const got = decoder.write(bytes);
    const end = got.lastIndexOf("\n");
    held.push(got.slice(0, end + 1));
    if (end >= 0) {
      for (const line of held.splice(0).join("").split("\n")) if (line) yield JSON.parse(line);
    }
    held.push(got.slice(end + 1));
  }
}

export async function text(response) {
  const decoder = new StringDecoder("utf8");
  let found = "";
  for await (const bytes of response) {
    found += decoder.write(bytes);
    if (found.length > LONGEST_ANSWER) throw new Error("the answer is too long");
  }
  return found;
}

function parsed(found) {
  try {
    return JSON.parse(found);
  } catch {
    return {}; // a proxy's page
  }
}
