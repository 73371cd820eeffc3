// The key that says how many processes serve.
import { availableParallelism } from 'node:os'
import Type from 'typebox'

const WorkerCount = Type.Unsafe<number | 'auto'>({
  default: 1,
  mustBe: 'a whole number from 1, or auto for one to each core',
  valueText: 'number, `auto`',
  description:
    'Processes that serve on the same ports, with one cache folder: one for each core that clients keep busy. `auto`: as many as there are cores. Each asks the others by a socket file before it asks an upstream. On Linux; not beside `cache.shared`, nor with `audit.file` on a descriptor.',
})

export const workers = Type.Codec(
  Type.Refine(
    WorkerCount,
    (given) => given === 'auto' || (Number.isSafeInteger(given) && given >= 1),
  ),
)
  .Decode((given) => (given === 'auto' ? availableParallelism() : given))
  .Encode((given) => given)
