// Whether a run is to be stopped, and how: cancelled, or only let go, so that its Job goes on.
import { sleep } from "./pace.js";
import { rowOf } from "./paperclip.js";

const LEASE_LOST = /lease lost/i;

/** Resolves with `{ reason, cancel }` when the run is to be stopped; never, once `over` is aborted. */
export async function stopOf(ctx, times, over) {
  return ctx.signal ? bySignal(ctx, times) : byRow(ctx, times, over);
}

async function bySignal(ctx, times) {
  const reason = await abortOf(ctx.signal);
  if (!LEASE_LOST.test(reason)) return { reason, cancel: true };
  // Not an operator's word: the server is stopping, or has lost its database. Or somebody cancelled, and the signal is
  // late: only the row tells the two apart (trap 5).
  const { status } = await rowOf(ctx.runId, ctx.authToken, times.quick);
  return { reason, cancel: status === "cancelled" };
}

/** Versions without a signal (up to 2026.817) tell nobody of a cancel: it is in the row. */
async function byRow(ctx, times, over) {
  while (!over.aborted) {
    await sleep(times.poll, over);
    const { status } = over.aborted ? {} : await rowOf(ctx.runId, ctx.authToken, times.patience);
    if (status === "cancelled") return { reason: "the run is cancelled", cancel: true };
  }
  return new Promise(() => {});
}

function abortOf(signal) {
  const reason = () => String(signal.reason?.message ?? signal.reason ?? "cancelled");
  return new Promise((resolve) => {
    if (signal.aborted) resolve(reason());
    else signal.addEventListener("abort", () => resolve(reason()), { once: true });
  });
}
