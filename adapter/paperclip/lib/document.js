// What the sidecar is sent of a run: all that Paperclip gave, but for what is no data.
import { readFile, stat } from "node:fs/promises";

const LONGEST_INSTRUCTIONS = 4 * 1024 * 1024; // the sidecar says how much a pod can be given, and refuses more by name

/** The run's document, as JSON. `lost` is the run whose Job this one is to go on with, where Paperclip does not say. */
export async function documentOf(ctx, lost) {
  const { signal, runtimeMcp, startupTraceContext, ...data } = ctx;
  const context = {
    ...data,
    context: { ...data.context, ...(lost && { retryOfRunId: lost }) },
    runtimeMcp: runtimeMcp?.getServers?.() ?? null,
    instructionsContent: await instructions(data.config?.instructionsFilePath),
  };
  return JSON.stringify({ context }); // functions are no JSON: onLog and its like stay here
}

/** The content of a file of this machine, which the sidecar's may lack; undefined lets the sidecar say what is wrong. */
async function instructions(path) {
  if (typeof path !== "string" || !path.startsWith("/")) return undefined;
  try {
    const facts = await stat(path);
    return facts.isFile() && facts.size <= LONGEST_INSTRUCTIONS ? await readFile(path, "utf8") : undefined;
  } catch {
    return undefined;
  }
}
