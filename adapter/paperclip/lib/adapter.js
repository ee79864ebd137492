// The adapter as Paperclip takes it (`ServerAdapterModule`).
import { execute } from "./execute.js";
import * as forms from "./forms.js";
import { sessionCodec } from "./session.js";

export const adapter = {
  type: "claude_k8s",
  execute,
  testEnvironment: forms.testEnvironment,
  listSkills: forms.listSkills,
  syncSkills: forms.syncSkills,
  sessionCodec,
  sessionManagement: forms.defaults.sessionManagement,
  models: forms.defaults.models,
  listModels: forms.listModels,
  refreshModels: forms.refreshModels,
  detectModel: forms.detectModel,
  getConfigSchema: forms.getConfigSchema,
  agentConfigurationDoc: forms.defaults.agentConfigurationDoc,
  supportsLocalAgentJwt: true, // without it a run has no token for Paperclip's API
  runtimeToolDelivery: "native_mcp", // as claude_local; otherwise a token travels in the context, and into the run's events
  supportsInstructionsBundle: true,
  instructionsPathKey: "instructionsFilePath",
  requiresMaterializedRuntimeSkills: false,
};
