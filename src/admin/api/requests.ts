// What may be asked of the cache by the admin API: the schemas of queries and bodies.
import Type from 'typebox'
import { closed, duration, logLevel, rate, size, text, written } from '../../config/schema-parts.ts'
import { mostRows } from '../../config/values/notations.ts'

const count = written('rows', { mustBe: `a whole number from 1 to ${mostRows}` })

const glob = written('images', {
  mustBe: 'a pattern of images such as registry.local/app/*:v1.*',
})

export const PageQuery = Type.Object(
  {
    match: Type.Optional(glob),
    cursor: Type.Optional(text('`next` of the page before.')),
    limit: Type.Optional(count),
  },
  closed,
)

export const PruneBody = Type.Object(
  {
    olderThan: Type.Optional(duration({})),
    notPulledFor: Type.Optional(duration({})),
    match: Type.Optional(glob),
    untagged: Type.Optional(Type.Boolean()),
    to: Type.Optional(size({})),
    dryRun: Type.Boolean({ default: false }),
  },
  closed,
)

const image = text('One image.')

export const PinBody = Type.Object({ image, pinned: Type.Boolean({ default: true }) }, closed)
export const EvictBody = Type.Object({ image, force: Type.Boolean({ default: false }) }, closed)
export const VerifyBody = Type.Object({ rate: Type.Optional(rate({})) }, closed)

export const LogBody = Type.Object({ level: logLevel({}) }, closed)
