// Checks what is asked of the admin API as the config is checked.
import type { TSchema } from 'typebox'
import { decode } from '../../config/decode.ts'
import { UsageError } from '../../errors.ts'

/** For Fastify: decodes, or fails with a UsageError that has every problem. */
export function compileRequest({ schema }: { schema: unknown }) {
  return (given: unknown): { value: unknown } | { error: UsageError } => {
    const { value, findings } = decode(schema as TSchema, given, '/')
    if (findings.length === 0) return { value }
    const problems = findings.map(({ at, message }) => ({ path: at.join('.'), message }))
    return { error: new UsageError(problems) }
  }
}
