// The link of one run to its sidecar: the run is given to it, and its events are read to the result, however often
// either side is away meanwhile.
import { documentOf } from "./document.js";
import { Answer, lines } from "./http.js";
import { lostRun, NotYet } from "./lost.js";
import { Pace, sleep } from "./pace.js";

/** Nothing that may be tried again: `cause` says why. */
export class Refused extends Error {}

/** The run is to be stopped, and surely nothing of it was started. */
export class NeverStarted extends Error {}

/** The sidecar does not know, and does not come to know, a run that it had. */
export class Forgotten extends Error {}

const UNREACHED = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ENOENT"]);
const PASSING = new Set([408, 425, 429]);

/** An answer that will be the same however often it is asked for. */
const isFinal = (error) => error instanceof Answer && error.status < 500 && !PASSING.has(error.status);

export class Link {
  #accepted = false;
  #unknown = true; // to the sidecar, as far as we know: it is to be given the run
  #sent = false; // whether it may have the run all the same
  #stopping = new AbortController();
  #reason = "";
  #cursor = "";
  #missing = undefined; // since when it has said that it does not know the run
  #said = "";
  #document = undefined;
  #asked = 0; // milliseconds that the sidecar wants to be left alone

  constructor(ctx, sidecar, listener, times, over) {
    Object.assign(this, { ctx, sidecar, listener, times, over });
    this.path = `/v1/runs/${encodeURIComponent(ctx.runId)}`;
    this.pace = new Pace(times.retry, times.retryMost);
    this.began = Date.now();
  }

  /** The run's last line. Throws what ends it without one: `Refused`, `NeverStarted`, `Forgotten`. */
  async follow() {
    while (!this.over.aborted) {
      try {
        if (this.#unknown && !this.#stopping.signal.aborted) await this.#give();
        const result = await this.#read();
        if (result) return result;
      } catch (error) {
        await this.#judge(error);
      }
      await this.#pause();
    }
    return undefined;
  }

  /** Cancels the run: asked until it is taken, or the run is over. From now on nothing is started any more. */
  async cancel(reason) {
    this.#reason = reason;
    this.#stopping.abort();
    const options = { ...this.#options(), body: { reason: reason.replaceAll("\0", "").slice(0, 1000) } };
    await this.#persistently(() => this.sidecar.ask("POST", `${this.path}/cancel`, options));
  }

  /** Paperclip has the result. A Job that nobody acknowledges goes by its TTL. */
  async acknowledge() {
    await this.#persistently(() => this.sidecar.ask("POST", `${this.path}/ack`, { patience: this.times.patience }), 6);
  }

  /** Idempotent: a sidecar that knows the run says so. The document is made once, so that it stays the same request. */
  async #give() {
    if (!this.#document) await this.#prepare();
    try {
      await this.sidecar.ask("POST", "/v1/runs", { ...this.#options(), body: this.#document });
    } catch (error) {
      this.#sent ||= !UNREACHED.has(error.code);
      throw !this.#accepted && isFinal(error) ? new Refused(error.message, { cause: error }) : error;
    }
    this.#unknown = false;
    this.#accepted = this.#sent = true;
  }

  async #prepare() {
    const lost = await this.#lost();
    const document = await documentOf(this.ctx, lost).catch((error) => {
      throw new Refused(error.message, { cause: error });
    });
    if (this.#stopping.signal.aborted) throw new NeverStarted(this.#reason);
    this.listener.dispatched();
    this.#document = document;
  }

  async #lost() {
    try {
      return await lostRun(this.ctx, this.sidecar, this.times.patience);
    } catch (error) {
      if (error instanceof NotYet && Date.now() - this.began > this.times.lost) return undefined;
      throw isFinal(error) ? new Refused(error.message, { cause: error }) : error;
    }
  }

  /** Reads on from where the last link broke; the last line, if it came. */
  async #read() {
    const query = this.#cursor && `?after=${encodeURIComponent(this.#cursor)}`;
    const options = { ...this.#options(), headers: { accept: "application/x-ndjson" } };
    const response = await this.sidecar.open("GET", `${this.path}/events${query}`, options);
    if (response.statusCode !== 200) {
      response.destroy();
      throw new Answer(response.statusCode, {}, response.headers);
    }
    response.socket.setTimeout(this.times.silence);
    for await (const line of lines(response)) {
      this.#works();
      if (await this.#take(line)) return line;
    }
    return undefined;
  }

  async #take(line) {
    if (line.type === "log") await this.listener.log(line);
    else if (line.type === "meta") await this.listener.meta(line.data);
    else if (line.type === "event") await this.listener.event(line);
    else if (line.type === "missed") await this.listener.warn(line.message);
    this.#cursor = line.cursor ?? this.#cursor; // only now: what was not told is asked for again
    return line.type === "result";
  }

  #works() {
    this.pace.reset();
    this.#asked = 0;
    this.#missing = undefined;
    this.#said = "";
  }

  async #judge(error) {
    if (this.over.aborted) return;
    if (error instanceof Refused || error instanceof NeverStarted) throw error;
    this.#unknown ||= error.status === 404;
    this.#missing = error.status === 404 ? (this.#missing ?? Date.now()) : undefined;
    this.#asked = Math.min(error.retryAfter ?? 0, this.times.retryMost);
    if (this.#stopping.signal.aborted) this.#judgeStopped();
    const trouble = this.#trouble(error);
    if (trouble !== this.#said) await this.listener.warn(trouble);
    this.#said = trouble;
  }

  #trouble(error) {
    if (error instanceof NotYet) return `waiting: ${error.message}`;
    return `${this.sidecar.url}: ${error.code === "ECONNRESET" ? "the connection broke" : error.message}; trying again`;
  }

  #judgeStopped() {
    const forgotten = this.#missing !== undefined && Date.now() - this.#missing >= this.times.gone;
    if (!this.#sent || (forgotten && !this.#accepted)) throw new NeverStarted(this.#reason);
    if (forgotten) throw new Forgotten(this.#reason);
  }

  async #persistently(call, tries = Infinity) {
    const pace = new Pace(this.times.retry, this.times.retryMost);
    for (let left = tries; left > 0 && !(tries === Infinity && this.over.aborted); left -= 1) {
      try {
        return await call();
      } catch {
        await sleep(pace.next(), tries === Infinity ? this.over : undefined);
      }
    }
    return undefined;
  }

  /** Until the next try. A wish to stop is heard at once. */
  async #pause() {
    const stopping = this.#stopping.signal;
    await sleep(Math.max(this.#asked, this.pace.next()), this.over, stopping.aborted ? undefined : stopping);
  }

  #options() {
    return { patience: this.times.patience, signal: this.over };
  }
}
