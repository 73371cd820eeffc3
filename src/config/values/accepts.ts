// The one place that asks TypeBox whether a value is what a schema says. `npm run build` puts another one in its
// place, which asks the checks that TypeBox has compiled for each schema: scripts/schemas-as-data.ts.
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'

/** Of a schema of the config a leaf only: `decode` goes through the rest. */
export function accepts(schema: TSchema, value: unknown): boolean {
  return Value.Check(schema, value)
}
