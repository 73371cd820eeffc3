// Which config file a command means.
import { UsageError } from '../errors.ts'

/** `--config` as given, else what PORTCULLIS_CONFIG says. Throws UsageError without either. */
export function configFile(given: string | undefined): string {
  const file = given ?? process.env['PORTCULLIS_CONFIG']
  if (file === undefined || file === '') {
    const message = 'is missing: name the config file, here or in PORTCULLIS_CONFIG'
    throw new UsageError([{ path: '--config', message }])
  }
  return file
}
