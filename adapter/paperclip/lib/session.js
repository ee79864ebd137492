// What is stored of a session: the rules of adapter/agent/session.py, which a test holds against these. In JavaScript,
// because Paperclip calls a codec and does not wait.
const NAMES = {
  sessionId: ["sessionId", "session_id"],
  cwd: ["cwd", "workdir", "folder"],
  workspaceId: ["workspaceId", "workspace_id"],
  repoUrl: ["repoUrl", "repo_url"],
  repoRef: ["repoRef", "repo_ref"],
  promptBundleKey: ["promptBundleKey", "prompt_bundle_key"],
};
const ALIASES = new Set(Object.values(NAMES).flat());

function first(stored, names) {
  const texts = names.map((name) => stored[name]).filter((value) => typeof value === "string");
  return texts.map((value) => value.trim()).find(Boolean);
}

function deserialize(stored) {
  if (typeof stored !== "object" || stored === null || Array.isArray(stored)) return null;
  const known = Object.entries(NAMES).map(([field, names]) => [field, first(stored, names)]);
  const session = Object.fromEntries(known.filter(([, value]) => value));
  if (!session.sessionId) return null;
  const others = Object.entries(stored).filter(([name]) => !ALIASES.has(name));
  return { ...session, ...Object.fromEntries(others) };
}

export const sessionCodec = {
  deserialize,
  serialize: deserialize,
  getDisplayId: (params) => deserialize(params)?.sessionId ?? null,
};
