// The list of what a site must hold: images, or patterns of them.
import Type, { type Static } from 'typebox'
import { closed, duration, oneOrMore, text } from '../schema-parts.ts'

const Entry = Type.Object(
  {
    image: text(
      'An image such as `docker.io/library/alpine:3.20`, by digest as well; or a pattern: in a tag `*` is any run of characters, in a repository one within a part of the name, and `**` any number of parts. Patterns of repositories need an upstream that has a catalog.',
      { valueText: 'image' },
    ),
    newest: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1000,
        description:
          'Of the tags that match only so many, the highest by semantic version. Tags that are no versions are left out, and so are pre-releases unless the pattern has a `-`.',
      }),
    ),
    platforms: oneOrMore('A platform such as `linux/arm64`, or `all`.', {
      default: ['all'],
      pattern: String.raw`^(all|[a-z0-9]+/[a-z0-9]+(/[a-z0-9.]+)?)$`,
      mustBe: 'all, or a platform such as linux/amd64',
      valueText: 'platform',
    }),
    referrers: Type.Boolean({
      default: true,
      description: 'Whether signatures, SBOMs and what else refers to the image come with it.',
    }),
    schedule: Type.Optional(
      text(
        'When the upstream is asked what is new, as a cron expression in local time (`0 2 * * *`): nothing is begun before; what is missing then is fetched until it is there. Without it: at every start, and every quarter of an hour.',
        { valueText: 'cron expression' },
      ),
    ),
    jitter: duration({
      default: '5m',
      description: 'By how much the schedule may be late, at random: not all sites at once.',
    }),
  },
  { ...closed, description: 'One image or pattern.' },
)

export const ShelfSchema = Type.Array(Entry, {
  default: [],
  orFile: true,
  isPath: true,
  description:
    'What this site must hold: the gateway pulls what is missing, and keeps it whatever is evicted. A list, or the path of a YAML file with such a list.',
})

export type ShelfEntry = Static<typeof Entry>
