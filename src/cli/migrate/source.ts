// A config of another program: whoever takes keys out of it is told in the end what nobody has taken.
import { parse } from 'yaml'
import { messageOf, UsageError } from '../../errors.ts'

/** What the reader of a migrated config should know, with the key of theirs that it is about. */
export interface Note {
  path: string
  message: string
}

/** One section; keys are paths with dots. */
export interface ForeignConfig {
  /** Where it is: `registries.0`, empty at the top. */
  path: string
  text: (key: string) => string | undefined
  number: (key: string) => number | undefined
  flag: (key: string) => boolean
  /** The entries of a list, each a section of its own; an empty key is the list itself. */
  list: (key: string) => ForeignConfig[]
  /** The texts of a list. */
  texts: (key: string) => string[]
  has: (key: string) => boolean
  /** Counts the key as taken, and tells of it. */
  note: (key: string, message: string) => void
}

/** Throws UsageError for what is no YAML or JSON. */
export function readSource(
  text: string,
  file: string,
): { source: ForeignConfig; notes: () => Note[] } {
  const document = parsed(text, file)
  const taken = new Set<string>()
  const told: Note[] = []

  function sectionAt(path: string): ForeignConfig {
    const at = (key: string) => [path, key].filter((part) => part !== '').join('.')
    const valueOf = (key: string) => valueAt(document, at(key))
    function take(key: string): unknown {
      taken.add(at(key))
      return valueOf(key)
    }
    return {
      path,
      text(key) {
        const value = take(key)
        return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
      },
      number(key) {
        const value = Number(take(key) ?? Number.NaN)
        return Number.isNaN(value) ? undefined : value
      },
      flag: (key) => take(key) === true,
      list(key) {
        const value = valueOf(key)
        if (!Array.isArray(value)) return []
        return value.map((_, index) => sectionAt(at(key === '' ? `${index}` : `${key}.${index}`)))
      },
      texts(key) {
        const value = take(key)
        return Array.isArray(value) ? value.map(String) : []
      },
      has: (key) => !isEmpty(valueOf(key)),
      note(key, message) {
        taken.add(at(key))
        told.push({ path: at(key), message })
      },
    }
  }

  return {
    source: sectionAt(''),
    notes: () => [
      ...told,
      ...untaken(document, taken).map((path) => ({ path, message: 'has no counterpart here' })),
    ],
  }
}

function parsed(text: string, file: string): unknown {
  try {
    const document: unknown = parse(text)
    if (typeof document === 'object' && document !== null) return document
  } catch (error) {
    throw new UsageError([{ path: file, message: `is no YAML: ${messageOf(error)}` }])
  }
  throw new UsageError([{ path: file, message: 'holds no sections: is it the right file?' }])
}

function valueAt(document: unknown, path: string): unknown {
  const keys = path.split('.').filter((key) => key !== '')
  return keys.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null
        ? (value as Record<string, unknown>)[key]
        : undefined,
    document,
  )
}

/** The highest sections of which nothing was taken, and single keys. */
function untaken(value: unknown, taken: ReadonlySet<string>, path = ''): string[] {
  if (taken.has(path) || isEmpty(value)) return []
  const isPartly = path === '' || [...taken].some((one) => one.startsWith(`${path}.`))
  if (!isPartly || typeof value !== 'object' || value === null) return [path]
  return Object.entries(value).flatMap(([key, child]) =>
    untaken(child, taken, path === '' ? key : `${path}.${key}`),
  )
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true
  return typeof value === 'object' && Object.values(value).every(isEmpty)
}
