// Options that several commands share, and which config file they mean.
import { UsageError } from '../errors.ts'

export const configOption = {
  type: 'string',
  value: 'FILE',
  help: 'the config; the file that PORTCULLIS_CONFIG names when absent',
} as const

export const jsonOption = {
  type: 'boolean',
  default: false,
  help: 'print JSON, for programs',
} as const

export const matchOption = {
  type: 'string',
  value: 'GLOB',
  help: 'only these, such as registry.local/app/*:v1.*',
} as const

export const cacheFolderOption = {
  type: 'string',
  value: 'DIR',
  help: "the cache folder; the config's cache.dir when absent",
} as const

/** `--config` as given, else what PORTCULLIS_CONFIG says. Throws UsageError without either. */
export function configFile(given: string | undefined): string {
  const file = given ?? process.env['PORTCULLIS_CONFIG']
  if (file === undefined || file === '') {
    const message = 'is missing: name the config file, here or in PORTCULLIS_CONFIG'
    throw new UsageError([{ path: '--config', message }])
  }
  return file
}
