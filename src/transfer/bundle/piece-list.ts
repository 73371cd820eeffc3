// The pieces of a bundle and their checksums, in the form of `sha256sum`: `sha256sum -c` checks them too.

/** One file that is a part of a bundle, by its name beside the list. */
export interface BundlePiece {
  name: string
  sha256: string
}

/** What the name of a list ends in. */
export const pieceListSuffix = '.pieces'

/** `bundle.tar.001`: counted from 1. */
export function pieceName(bundle: string, number: number): string {
  return `${bundle}.${String(number).padStart(3, '0')}`
}

/** The name of the list that a piece belongs to; undefined where the name is none of a piece. */
export function pieceListOf(name: string): string | undefined {
  const match = /^(.+)\.\d{3,6}$/.exec(name)
  return match === null ? undefined : `${match[1]}${pieceListSuffix}`
}

export function formatPieceList(pieces: readonly BundlePiece[]): string {
  return pieces.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join('')
}

/** undefined where the text is no list of the pieces of `bundle`, each in its place. */
export function parsePieceList(text: string, bundle: string): BundlePiece[] | undefined {
  const lines = text.split('\n').filter((line) => line !== '')
  const pieces = lines.flatMap((line): BundlePiece[] => {
    const [, sha256 = '', name = ''] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? []
    return name === '' ? [] : [{ name, sha256 }]
  })
  const isWhole = pieces.every(({ name }, at) => name === pieceName(bundle, at + 1))
  return pieces.length > 0 && pieces.length === lines.length && isWhole ? pieces : undefined
}
