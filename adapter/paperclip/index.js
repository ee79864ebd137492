// The door that Paperclip opens. Its reload imports this file anew, and nothing behind it: so the code is in a directory
// that each installation names after its version (`claudeK8s.lib` of package.json), and a reload takes all of it.
import { readFileSync } from "node:fs";

const about = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
const { adapter } = await import(new URL(`${about.claudeK8s.lib}/adapter.js`, import.meta.url).href);

export const createServerAdapter = () => adapter;
