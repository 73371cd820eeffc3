// The effective config as text: a config file again, with every default spelled out.
import { Value } from 'typebox/value'
import { stringify } from 'yaml'
import { ConfigSchema, type Config } from './schema.ts'

/**
 * YAML that `loadConfig` accepts and that means the same. It holds no secret: the config names
 * secrets by file or environment variable, and URLs with credentials are refused when it is loaded.
 */
export function effectiveConfig(config: Config): string {
  return stringify(Value.Encode(ConfigSchema, structuredClone(config)), { lineWidth: 0 })
}
