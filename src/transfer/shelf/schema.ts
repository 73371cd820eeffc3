// What is written down of the images of the shelf.
import Type, { type Static } from 'typebox'

const Row = Type.Object({
  /** The entry of the shelf, as the config has it. */
  entry: Type.String(),
  /** The image; the entry itself as long as nobody knows what it means. */
  image: Type.String(),
  digest: Type.Optional(Type.String()),
  /** Milliseconds since 1970; absent: all of it is there. */
  missingSince: Type.Optional(Type.Number()),
  /** Why it is missing, or what is wrong though it is there; one sentence. */
  problem: Type.Optional(Type.String()),
  /** When it was last looked at, ms since 1970; absent: not yet. */
  checkedAt: Type.Optional(Type.Number()),
})

/** One image that the site must hold. */
export type ShelfRow = Static<typeof Row>

export const Rows = Type.Array(Row)
