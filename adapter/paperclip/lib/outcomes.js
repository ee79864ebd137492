// Results that the sidecar did not give. Each failure has a message: without one Paperclip counts an exit code that is
// not there as 0, and the run as a success (trap 9). And `executionRecovery` only where surely nothing was started: the
// work is done again on the strength of it (trap 10).
const NOTHING = { exitCode: null, signal: null, timedOut: false };
const BOOTSTRAP = { executionRecovery: { kind: "bootstrap", providerWorkStarted: false } };
const INTERRUPTED = { kind: "interrupted", providerStopped: true, sessionPreserved: true, actionOutcomes: "settled" };
const CODES = { 401: "unauthorized", 403: "unauthorized", 409: "conflict", 413: "invalid_request", 422: "invalid_request" };

export const failure = (errorMessage, { code = "sidecar", started = true } = {}) => ({
  ...NOTHING,
  errorMessage,
  errorCode: `claude_k8s_${code}`,
  ...(started ? {} : BOOTSTRAP),
});

/** The sidecar's no, or what kept us from asking. 409: somebody else's Job bears the run's name, so work was done. */
export function refused(cause) {
  const why = cause.status ? `the sidecar refused the run (${cause.status}): ${cause.message}` : cause.message;
  return failure(why, { code: CODES[cause.status], started: cause.status === 409 });
}

/** A run that was stopped before anything of it was started. */
export const neverStarted = (reason) => ({
  ...failure(`cancelled before it was started: ${reason}`, { started: false }),
  errorCode: "cancelled",
  resultJson: {
    executionCancellation: { state: "acknowledged", acknowledgedAt: new Date().toISOString(), forced: false },
  },
});

/** A cancel of a run that the sidecar does not know any more: nothing is acknowledged that nobody has seen. */
export const forgotten = (reason) =>
  failure(`cancelled (${reason}), but the sidecar does not know the run any more, so its end was not seen`, {
    code: "forgotten",
  });

/** Paperclip has lost the run. It stores no result of it, or, if its database comes back in time, takes it for
 *  cancelled, since its signal says so: the mark is there to be found then. */
export const letGo = () => ({
  ...failure("Paperclip has let go of the run; its Job goes on, and the next run for the task takes it over", {
    code: "detached",
  }),
  resultJson: { claudeK8s: { letGo: true } },
});

export const wasLetGo = (row) => row.resultJson?.claudeK8s?.letGo === true;

/** The sidecar's result, as Paperclip takes it. */
export function outcome({ execution, result }) {
  if (!execution) return failure(result?.message || "the run has ended, and nothing says how", { code: result?.code });
  return isInterrupted(execution) ? { ...execution, executionRecovery: INTERRUPTED } : execution;
}

/** Whether a cancelled agent has ended by itself when it was asked to, and has a session to go on with. */
function isInterrupted({ executionRecovery, resultJson, sessionId }) {
  const cancellation = resultJson?.executionCancellation;
  return !executionRecovery && Boolean(sessionId) && cancellation?.state === "acknowledged" && !cancellation.forced;
}
