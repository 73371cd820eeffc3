// What an import refuses, by the name of the offending entry.

/** Something in an archive or folder is wrong; nothing of the image it belongs to is kept. */
export class BadArchive extends Error {
  override readonly name = 'BadArchive'
  /** The entry as the archive calls it. */
  readonly entry: string

  constructor(entry: string, what: string, cause?: unknown) {
    super(`${entry}: ${what}`, cause === undefined ? {} : { cause })
    this.entry = entry
  }
}
