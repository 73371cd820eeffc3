// Holds every regular expression of the sources to linear time: much of what they read is foreign.
//
// What the checker knows are texts that repeat one character; it says nothing of others.
import { globSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { parse, tokTypes } from 'acorn'
import { analyse } from 'scslre'
import t from 'tap'

const root = join(import.meta.dirname, '..')

/** Files with expressions that are put together while they run, and why these are linear. */
const composed: Readonly<Record<string, string>> = {
  'src/config/decode.ts': 'those of the schema, over keys of the config',
  'src/oci/media-type.ts': 'two runs of 126 characters at most',
  'src/pki/name-rules.ts': 'labels of 63 characters at most, parted by dots',
  'src/rules/rewrite.ts': 'one ** at most, over names of 255 characters at most',
}

interface Literal {
  pattern: string
  flags: string
}

function literalsIn(source: string): Literal[] {
  const found: Literal[] = []
  parse(stripTypeScriptTypes(source), {
    ecmaVersion: 'latest',
    sourceType: 'module',
    onToken(token) {
      if (token.type === tokTypes.regexp && 'value' in token) found.push(token.value as Literal)
    },
  })
  return found
}

/** In which ways it can be slow. */
function slownessOf({ pattern, flags }: Literal): string[] {
  return analyse({ source: pattern, flags }).reports.map(({ type }) => type)
}

t.test('the checker finds what is slow', async (t) => {
  const source = String.raw`
    const a: RegExp = /^(a+)+$/
    const b = text.replace(/\s+$/, '') // no /^(b+)+$/
    const c = /^a*[^b]*$/u
    const d = 1 / 2 / 3, e = /^[a-z]+(?:-[a-z]+)*$/
  `
  const slow = literalsIn(source).map((literal) => slownessOf(literal).length > 0)
  t.same(slow, [true, true, true, false])
})

t.test('every regular expression takes linear time', async (t) => {
  let count = 0
  const isComposing = new Set<string>()
  for (const file of globSync('src/**/*.ts', { cwd: root }).sort()) {
    const source = readFileSync(join(root, file), 'utf8')
    if (/\bRegExp\(/.test(source)) isComposing.add(file)
    for (const literal of literalsIn(source)) {
      count += 1
      t.same(slownessOf(literal), [], `${file}: /${literal.pattern}/${literal.flags}`)
    }
  }
  t.ok(count > 100, `${count} were found`)
  t.same([...isComposing], Object.keys(composed), 'others are literals')
})
