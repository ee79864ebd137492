// The Job of a run that Paperclip has lost, which works on still. The new run for its task takes it over: never two.
import { wasLetGo } from "./outcomes.js";
import { isOver, rowOf } from "./paperclip.js";

/** Runs that this process executes. One that has no reader for a moment, because its link is down, is not lost. Kept
 *  where a module that was loaded anew finds it. */
export const executing = (globalThis[Symbol.for("claude_k8s.executing")] ??= new Set());

/** Paperclip does not know yet that it has lost a run: its row says `running` for minutes (trap 8). */
export class NotYet extends Error {}

/** The id of the run to take over, if there is one. Throws `NotYet`, `Answer`, or what the connection throws. */
export async function lostRun(ctx, sidecar, patience) {
  if (ctx.context?.retryOfRunId) return undefined; // Paperclip says it
  for (const run of await unattended(ctx, sidecar, patience)) {
    const row = await rowOf(run.runId, ctx.authToken, patience);
    if (row.status === "cancelled" && !wasLetGo(row)) await cancel(run, sidecar, patience);
    else if (isOver(row.status)) return run.runId;
    else if (row.status) throw new NotYet(`run ${run.runId} of this task is at work, and still counts as ${row.status}`);
  }
  return undefined;
}

async function unattended(ctx, sidecar, patience) {
  const task = ctx.context?.taskId || ctx.context?.issueId;
  if (!task) return []; // a run without a task goes on with nothing
  const query = new URLSearchParams({ agent: ctx.agent.id, task, unattended: "true" });
  const { runs } = await sidecar.ask("GET", `/v1/runs?${query}`, { patience });
  return (runs ?? []).filter((run) => run.state !== "finished" && run.runId !== ctx.runId && !executing.has(run.runId));
}

/** Somebody cancelled it while no server had it: nobody else would end its Job. */
async function cancel(run, sidecar, patience) {
  const body = { reason: "the run is cancelled" };
  await sidecar.ask("POST", `/v1/runs/${encodeURIComponent(run.runId)}/cancel`, { body, patience });
}
