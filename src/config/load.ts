// From a YAML file to the effective config, or to everything that is wrong with it.
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import {
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  stringify,
  type Document,
  type ErrorCode,
} from 'yaml'
import { messageOf, UsageError, type Problem } from '../errors.ts'
import { decode, encode, type Finding } from './decode.ts'
import type { ConfigDraft, TellAt } from './draft.ts'
import { defaultRedirects, defaultTagTtl, defaultUrl } from './registries.ts'
import { brokenRules, type BrokenRule } from './cross-checks.ts'
import { ConfigSchema, type Config, type ShelfConfig, type UpstreamConfig } from './schema.ts'
import { checkShelf } from './shelf/pattern.ts'
import { ShelfSchema, type ShelfEntry } from './shelf/schema.ts'
import type { TSchema } from 'typebox'

/**
 * Reads, validates and completes the config in `file`. Throws UsageError with every problem, each
 * with its field path and line; where the file cannot be read or is no YAML, the path is the file.
 * The files that the config names are not opened here, but by those who use them; that of the shelf
 * is a part of the config.
 */
export async function loadConfig(file: string): Promise<Config> {
  const draft = parseConfig(await readText(file, 'give the config file with --config FILE'), file)
  const shelf =
    typeof draft.shelf === 'string'
      ? { file: draft.shelf, entries: await readShelf(draft.shelf, draft) }
      : { file: undefined, entries: draft.shelf }
  return complete(draft, shelf)
}

async function readShelf(file: string, draft: ConfigDraft): Promise<ShelfEntry[]> {
  const text = await readText(file, 'write the list there, or into the config')
  return parse(text, file, ShelfSchema, (entries: ShelfEntry[]) => {
    const findings: BrokenRule[] = []
    const tell: TellAt = (at, message, cause = 'present') => findings.push({ at, message, cause })
    checkShelf(entries, draft, tell, [])
    return findings
  })
}

/** A function that says in which line of `file`, a config that loads, a key stands; keys from the top. */
export async function linesOf(file: string): Promise<(at: readonly string[]) => number> {
  const lines = new LineCounter()
  const document = parseDocument(await readText(file, 'give the config file with --config FILE'), {
    lineCounter: lines,
  })
  return (at) => lines.linePos(offsetOf(at, document) ?? 0).line
}

/** `loadConfig` of a text; relative paths start at the folder of `file`. */
function parseConfig(text: string, file: string): ConfigDraft {
  return parse(text, file, ConfigSchema, (draft: ConfigDraft) => brokenRules(draft, process.env))
}

/** What `text` means by a schema; `check` finds what that cannot say. */
function parse<Draft>(
  text: string,
  file: string,
  schema: TSchema,
  check: (draft: Draft) => BrokenRule[],
): Draft {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  if (document.errors.length > 0) throw new UsageError(syntaxProblems(document, lines, file))
  if (document.contents === null) {
    throw new UsageError([{ path: file, message: 'is empty; start from one of the examples' }])
  }
  const { value, findings } = decode(schema, toPlain(document, file), dirname(resolve(file)))
  const related = check(value as Draft).filter(
    (rule) => rule.cause === 'present' || !isConsequence(rule, findings),
  )
  const all = [...findings, ...related]
  if (all.length > 0) {
    throw new UsageError(
      inFileOrder(all, document, lines, schema === ConfigSchema ? undefined : file),
    )
  }
  return value as Draft
}

/** @param hint what to do where there is none */
async function readText(file: string, hint: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const reasons: Record<string, string> = {
      ENOENT: `does not exist; ${hint}`,
      EACCES: 'cannot be read: permission denied',
      EISDIR: 'is a folder, not a file',
    }
    const message = reasons[code ?? ''] ?? `cannot be read (${code})`
    throw new UsageError([{ path: file, message }])
  }
}

function syntaxProblems(document: Document, lines: LineCounter, file: string): Problem[] {
  return document.errors.map(({ code, message, pos }) => {
    const { line, col } = lines.linePos(pos[0])
    const what = problemByCode[code] ?? message
    return { path: file, message: `${what} (line ${line}, column ${col})` }
  })
}

/** Where the parser speaks to whoever has called it. */
const problemByCode: Partial<Record<ErrorCode, string>> = {
  MULTIPLE_DOCS: 'has a second document behind ---: keep one',
  RESOURCE_EXHAUSTION: 'is nested too deeply',
}

function toPlain(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    const reason = messageOf(error)
    throw new UsageError([{ path: file, message: `cannot be used: ${reason}` }])
  }
}

/** Whether what is missed may be there under a wrong key of its section or of one around it. */
function isConsequence(rule: Finding, findings: readonly Finding[]): boolean {
  return findings.some(({ at }) => {
    const section = at.slice(0, -1)
    return (section.length > 0 && isWithin(rule.at, section)) || isWithin(rule.at, at)
  })
}

function isWithin(path: readonly string[], section: readonly string[]): boolean {
  return section.every((key, index) => path[index] === key)
}

/** @param shelf the file, where it is that of the shelf */
function inFileOrder(
  findings: Finding[],
  document: Document,
  lines: LineCounter,
  shelf: string | undefined,
): Problem[] {
  return findings
    .map((finding) => ({ ...finding, offset: offsetOf(finding.at, document) }))
    .toSorted((one, other) => (one.offset ?? 0) - (other.offset ?? 0))
    .map(({ at, message, offset }) => {
      const where = shelf === undefined ? '' : ` of ${shelf}`
      const place = offset === undefined ? where : ` (line ${lines.linePos(offset).line}${where})`
      const path = [...(shelf === undefined ? [] : ['shelf']), ...at].join('.')
      return { path: path || 'the config', message: `${message}${place}` }
    })
}

/** Where the key stands, or the deepest section of its path that is there. */
function offsetOf(path: readonly string[], document: Document): number | undefined {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      if (pair === undefined) return offset
      offset = isNode(pair.key) ? pair.key.range?.[0] : offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      offset = isNode(node) ? node.range?.[0] : offset
    } else {
      return offset
    }
  }
  return offset
}

/** Fills in what follows from an upstream's name and other keys. */
function complete(draft: ConfigDraft, shelf: ShelfConfig): Config {
  const upstreams = Object.entries(draft.upstreams).map(([name, upstream]) => {
    const own = upstream.endpoints.length === 0 ? defaultUrl(name) : undefined
    const url = upstream.url ?? own
    const endpoints = upstream.endpoints.map((endpoint) => ({
      ...endpoint,
      url: withoutTrailingSlashes(endpoint.url),
    }))
    const redirects = upstream.redirects ?? defaultRedirects(name)
    const tagTtl = withDefault(upstream.tagTtl)
    const { foreignLayers = upstream.redirects === undefined ? 'refuse' : 'fetch' } = upstream
    return [
      name,
      {
        ...upstream,
        ...(url === undefined ? {} : { url: withoutTrailingSlashes(url) }),
        endpoints,
        redirects,
        foreignLayers,
        tagTtl,
      },
    ] as const
  })
  return { ...draft, shelf, upstreams: Object.fromEntries(upstreams) }
}

/** A map has a time for the tags that no other of its patterns matches. */
function withDefault(tagTtl: UpstreamConfig['tagTtl']): UpstreamConfig['tagTtl'] {
  return typeof tagTtl === 'number' ? tagTtl : { ...tagTtl, '*': tagTtl['*'] ?? defaultTagTtl }
}

/**
 * YAML that `loadConfig` accepts and that means the same. It holds no secret: the config names
 * secrets by file or environment variable, and URLs with credentials are refused when it is loaded.
 */
export function effectiveConfig(config: Config): string {
  const { shelf, ...others } = structuredClone(config)
  const schema: TSchema = ConfigSchema
  const written = encode(schema, { ...others, shelf: shelf.entries }) as object
  const inFile = shelf.file === undefined ? {} : { shelf: shelf.file }
  return stringify({ ...written, ...inFile }, { lineWidth: 0 })
}

/** By hand: a regular expression for it takes quadratic time. */
function withoutTrailingSlashes(url: string): string {
  let end = url.length
  while (url[end - 1] === '/') end -= 1
  return url.slice(0, end)
}
