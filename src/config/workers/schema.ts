// The key that says how many processes serve.
import Type from 'typebox'

export const workers = Type.Unsafe<number>({
  notation: 'workers',
  default: 1,
  mustBe: 'a whole number from 1, or auto for one to each core',
  valueText: 'number, `auto`',
  description:
    'Processes that serve on the same ports, with one cache folder: one for each core that clients keep busy. `auto`: as many as there are cores. Each asks the others by a socket file before it asks an upstream. On Linux; not beside `cache.shared`, nor with `audit.file` on a descriptor.',
})
