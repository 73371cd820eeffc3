// The images that a command line names, itself or in list files.
import { readFile } from 'node:fs/promises'
import { UsageError, type Problem } from '../errors.ts'
import { formatImage, parseImage, type ImageName, type Naming } from './image-name.ts'

/**
 * Every image once. An argument that is a file is a list: an image per line; `#` begins a comment.
 * Throws UsageError with every name that is malformed or of no configured upstream.
 */
export async function readImageList(args: readonly string[], naming: Naming): Promise<ImageName[]> {
  const images = new Map<string, ImageName>()
  const problems: Problem[] = []
  for (const { text, at } of (await Promise.all(args.map(entriesOf))).flat()) {
    try {
      const name = parseImage(text, naming)
      images.set(formatImage(name), name)
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      problems.push(...error.problems.map(({ message }) => ({ path: at, message })))
    }
  }
  if (problems.length > 0) throw new UsageError(problems)
  return [...images.values()]
}

interface Entry {
  text: string
  /** For messages. */
  at: string
}

async function entriesOf(arg: string): Promise<Entry[]> {
  const list = await readList(arg)
  if (list === undefined) return [{ text: arg, at: arg }]
  return list
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*/, '').trim())
    .map((text, at) => ({ text, at: `${arg}:${at + 1}: ${text}` }))
    .filter(({ text }) => text !== '')
}

/** undefined: there is no such file. */
async function readList(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    // A digest may be longer than the name of a file, and part of a name be a file.
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(String(code))) return undefined
    const message = `cannot be read as a list of images (${String(code)})`
    throw new UsageError([{ path: file, message }])
  }
}
