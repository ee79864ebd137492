// One run of Paperclip's, from its call to its result.
import { Forgotten, Link, NeverStarted, Refused } from "./link.js";
import { Listener } from "./listener.js";
import { executing } from "./lost.js";
import { failure, forgotten, letGo, neverStarted, outcome, refused } from "./outcomes.js";
import { sidecar, times } from "./settings.js";
import { stopOf } from "./stop.js";

/** Paperclip's `execute`. Never throws: what Paperclip makes of an exception says less. */
export async function execute(ctx) {
  const over = new AbortController();
  executing.add(ctx.runId);
  try {
    return await run(ctx, over.signal);
  } catch (error) {
    return ending(error);
  } finally {
    executing.delete(ctx.runId);
    over.abort(); // what still reads, looks or waits for this run ends with it
  }
}

async function run(ctx, over) {
  // In this order: whoever cancels before we are ready must not be told that all is well, and find us starting.
  await ctx.onCancellationReady?.();
  if (ctx.signal?.aborted) return neverStarted(ctx.signal.reason?.message ?? "aborted");
  const listener = new Listener(ctx);
  const link = new Link(ctx, sidecar(), listener, times(), over);
  const stop = stopOf(ctx, times(), over);
  const following = link.follow();
  const last = await Promise.race([following, stop.then((wish) => stopped(wish, link, following))]);
  if (!last) return letGo();
  await listener.flush();
  void link.acknowledge();
  return outcome(last);
}

/** A run that is cancelled has its end told all the same; one that is let go has not. */
function stopped({ reason, cancel }, link, following) {
  if (!cancel) return undefined;
  void link.cancel(reason);
  return following;
}

function ending(error) {
  if (error instanceof NeverStarted) return neverStarted(error.message);
  if (error instanceof Forgotten) return forgotten(error.message);
  if (error instanceof Refused) return refused(error.cause);
  return failure(error.message, { started: false }); // it was not even tried: settings, or Paperclip's own readiness
}
