// A line of a run's log as the entries that Paperclip's run viewer shows: the rules of adapter/agent/uilines.py, which a
// test holds against these. CommonJS, and alone: the page makes a function of this text, in a worker without a network.
const text = (value) => (typeof value === "string" ? value : "");
const object = (value) => (typeof value === "object" && value !== null && !Array.isArray(value) ? value : {});
const list = (value) => (Array.isArray(value) ? value : []);
const count = (value) => (Number.isInteger(value) && value >= 0 && value < 2 ** 53 ? value : 0);
const amount = (value) => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0);
const isEmpty = (value) => !value || (typeof value === "object" && Object.keys(value).length === 0);
const clean = (line) => line.replaceAll("\0", "\uFFFD");

/** JSON on one line, spaced as Python writes it. */
function compact(value) {
  if (Array.isArray(value)) return `[${value.map(compact).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${compact(each)}`).join(", ")}}`;
}

function eventOf(line) {
  if (!line.trimStart().startsWith("{")) return null;
  try {
    const event = JSON.parse(clean(line));
    return typeof event.type === "string" ? event : null;
  } catch {
    return null;
  }
}

/** What a tool answered, as text: of a list the texts, and of what is none its kind, such as `[image]`. */
function told(content) {
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.map(part).join("\n");
  return content === null || content === undefined ? "" : compact(content);
}

function part(one) {
  if (typeof one !== "object" || one === null || Array.isArray(one)) return told(one);
  return text(one.text) || `[${text(one.type) || "unknown"}]`;
}

function blocksOf(event) {
  const { content } = object(event.message);
  if (typeof content === "string") return [{ type: "text", text: content }];
  return list(content).filter((block) => object(block) === block);
}

function moment(value) {
  if (typeof value === "string") return value;
  const seconds = Math.trunc(amount(value));
  if (!seconds || seconds > 253402300799) return ""; // the end of the year 9999
  return `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** Events about the conversation, not of it, in one line. */
const NOTICES = {
  rate_limit_event(event) {
    const info = object(event.rate_limit_info);
    const reset = moment(info.resetsAt);
    const told = `rate limit ${text(info.rateLimitType) || "unknown"}: ${text(info.status) || "unknown"}`;
    return told + (reset && `, resets ${reset}`);
  },
  compact_boundary(event) {
    const { trigger, pre_tokens } = object(event.compact_metadata);
    const facts = [text(trigger), count(pre_tokens) ? `${pre_tokens} tokens before` : ""].filter(Boolean).join(", ");
    return `conversation compacted${facts && ` (${facts})`}`;
  },
  api_retry(event) {
    const why = [text(event.error), count(event.error_status) || ""].filter(Boolean).join(" ");
    const numbers = `attempt ${count(event.attempt) || "?"} of ${count(event.max_retries) || "?"}`;
    return `API asked again, ${numbers}${why && `: ${why}`}`;
  },
};

const called = (block) => {
  const toolUseId = text(block.id) || text(block.tool_use_id);
  const entry = { kind: "tool_call", name: text(block.name) || "unknown", input: isEmpty(block.input) ? {} : block.input };
  return [toolUseId ? { ...entry, toolUseId } : entry];
};

const BLOCKS = {
  text: (block, speaker) => (text(block.text) ? [{ kind: speaker, text: block.text }] : []),
  thinking: (block) => (text(block.thinking) ? [{ kind: "thinking", text: block.thinking }] : []),
  tool_use: called,
  server_tool_use: called,
  tool_result: (block) => {
    const toolUseId = text(block.tool_use_id);
    return [{ kind: "tool_result", toolUseId, content: told(block.content), isError: block.is_error === true }];
  },
};

const own = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);

const message = (event) =>
  blocksOf(event).flatMap((block) => own(BLOCKS, text(block.type))?.(block, event.type) ?? []);

function errorOf(error) {
  const { message: said, error: named, code } = object(error);
  return [said, named, code].map(text).find(Boolean) || told(error);
}

const READERS = {
  system: (event) =>
    event.subtype === "init"
      ? [{ kind: "init", model: text(event.model) || "unknown", sessionId: text(event.session_id) }]
      : [],
  assistant: message,
  user: message,
  result(event) {
    const usage = object(event.usage);
    return [
      {
        kind: "result",
        text: text(event.result),
        inputTokens: count(usage.input_tokens),
        outputTokens: count(usage.output_tokens),
        cachedTokens: count(usage.cache_read_input_tokens),
        costUsd: amount(event.total_cost_usd),
        subtype: text(event.subtype),
        isError: event.is_error === true || text(event.subtype).startsWith("error"),
        errors: list(event.errors).map(errorOf).filter(Boolean),
      },
    ];
  },
};

function entriesOf(event) {
  const notice = own(NOTICES, event.type === "system" ? text(event.subtype) : event.type)?.(event);
  return notice ? [{ kind: "system", text: notice }] : (own(READERS, event.type)?.(event) ?? []);
}

exports.parseStdoutLine = (line, ts) => {
  const event = eventOf(line);
  const entries = event ? entriesOf(event) : [];
  if (entries.length) return entries.map((entry) => ({ ...entry, ts }));
  const shown = clean(line).replace(/[\r\n]+$/, "");
  return shown.trim() ? [{ kind: "stdout", ts, text: shown }] : [];
};
