// What Paperclip says of a run. The module lives in its server's process, so its API is on this machine.
import { ask } from "./http.js";

const OVER = new Set(["succeeded", "failed", "cancelled", "timed_out", "interrupted"]);

/** Whether Paperclip has given a run up: nothing that is told of it is taken any more. `gone`: it has no such row. */
export const isOver = (status) => status === "gone" || OVER.has(status);

/** A run's row; its status is "gone" where there is none, and undefined where nobody can say. */
export async function rowOf(runId, token, patience) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  for (const base of addresses()) {
    try {
      const row = await ask(base, "GET", `/api/heartbeat-runs/${encodeURIComponent(runId)}`, { headers, patience });
      if (typeof row.status === "string") return row;
    } catch (error) {
      // Another program's 404, on a port that is not Paperclip's, says nothing of a run.
      if (error.status === 404 && /run not found/i.test(error.message)) return { status: "gone" };
    }
  }
  return {};
}

function addresses() {
  const { PAPERCLIP_LISTEN_PORT, PAPERCLIP_API_URL, PORT } = process.env;
  const port = PAPERCLIP_LISTEN_PORT || PORT || "3100";
  const said = PAPERCLIP_API_URL?.replace(/\/+$/, "").replace(/\/api$/, "");
  return [`http://127.0.0.1:${port}`, said].filter(Boolean);
}
