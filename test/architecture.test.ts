// Holds docs/architecture.md: which folder of src may import which, and what a file looks like.
import { globSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '..')

const base = ['errors', 'oci', 'rules']
const middle = ['listener', 'identity', 'policy', 'upstream', 'cache', 'pki']
const outer = ['registry', 'admin', 'transfer']

/** What each part of src, a folder or a file at its top, may import beside itself. */
const allowed: Record<string, readonly string[]> = {
  errors: [],
  oci: ['errors'],
  rules: ['errors', 'oci'],
  config: base,
  ...Object.fromEntries(middle.map((part) => [part, [...base, 'config']])),
  demo: [...base, 'config', 'pki'],
  ...Object.fromEntries(outer.map((part) => [part, [...base, 'config', ...middle]])),
  log: [...base, 'config'],
  live: [...base, 'config', 'log', ...middle, ...outer],
  renewal: [...base, 'config', 'log', ...middle, ...outer, 'live'],
  oversight: [...base, 'config', 'log', ...middle, ...outer, 'live', 'renewal'],
  serving: [...base, 'config', 'log', ...middle, ...outer, 'live', 'renewal', 'oversight'],
  team: [...base, 'upstream', 'admin'],
  app: [
    ...base,
    'config',
    'log',
    ...middle,
    ...outer,
    'live',
    'renewal',
    'oversight',
    'serving',
    'team',
  ],
  cli: [...base, 'config', 'log', ...middle, ...outer, 'demo', 'team', 'app'],
  main: ['errors', 'cli'],
}

const sources = readSources('src/**/*.ts')

t.test('the finder of imports sees every form', async (t) => {
  const source = `
    import a from './a.ts'
    import { b,
      type C } from './b.ts'
    import type { D } from "./d.ts"
    import './e.ts'
    export { f } from './f.ts'
    export * from './g.ts'
    const h = await import('./h.ts')
    type I = import('./i.ts').I
    // import x from './comment.ts'
    import fs from 'node:fs'
    const url = 'https://example.com' // import('./comment.ts')
  `
  t.same(
    importsIn(source),
    ['a', 'b', 'd', 'e', 'f', 'g', 'h', 'i'].map((name) => `./${name}.ts`),
  )
})

t.test('imports point only one way', async (t) => {
  t.ok(sources.has('src/main.ts'), 'the sources are found')
  for (const [file, source] of sources) {
    const part = partOf(file)
    const mayImport = allowed[part]
    t.ok(mayImport, `${part} has its place in docs/architecture.md and in this test`)
    for (const target of importsIn(source).map((path) => resolve(file, path))) {
      if (!sources.has(target)) t.fail(`${file} imports ${target}, which is not in src`)
      const other = partOf(target)
      if (other !== part && !mayImport?.includes(other)) {
        t.fail(`${file} imports ${target}: ${part} must not know ${other}`)
      }
    }
  }
})

t.test('no file imports itself by a detour', async (t) => {
  const state = new Map<string, 'open' | 'done'>()
  const visit = (file: string, trail: string[]): void => {
    if (state.get(file) === 'open') {
      t.fail(`cycle: ${[...trail.slice(trail.indexOf(file)), file].join(' -> ')}`)
    }
    if (state.has(file)) return
    state.set(file, 'open')
    for (const path of importsIn(sources.get(file) ?? '')) {
      visit(resolve(file, path), [...trail, file])
    }
    state.set(file, 'done')
  }
  for (const file of sources.keys()) visit(file, [])
  t.ok(state.size >= sources.size, 'every file was visited')
})

t.test('a file is one noun, and fits on a few screens', async (t) => {
  for (const [file, source] of sources) {
    const name = basename(file, '.ts')
    t.match(name, /^[a-z0-9]+(-[a-z0-9]+)*$/, `${file} is in kebab-case`)
    t.notMatch(file, /\b(utils?|helpers?|lib|common|misc)\b/, `${file} says what it is`)
    const lines = linesOf(file)
    t.ok(lines <= 300, `${file} has ${lines} lines of at most 300`)
    t.match(source, /^(#!.*\n)?(\/\/|\/\*\*) ?\S/, `${file} starts with what it is for`)
  }
})

t.test('a folder has at most fifteen files', async (t) => {
  for (const [folder, files] of Map.groupBy(sources.keys(), dirname)) {
    t.ok(files.length <= 15, `${folder} has ${files.length} files of at most 15`)
  }
})

t.test(
  'a short file with one importer and no test of its own belongs to its importer',
  async (t) => {
    const tests = readSources('test/**/*.ts')
    const importers = (target: string, files: Map<string, string>) =>
      [...files.keys()].filter((file) => imported(file, files).includes(target))
    for (const file of sources.keys()) {
      const [only, ...others] = importers(file, sources)
      if (only === undefined || others.length > 0 || dirname(only) !== dirname(file)) continue
      if (linesOf(file) >= 40 || linesOf(file) + linesOf(only) > 250) continue
      // What gathers many, such as a table of clients, may leave each in a file of its own.
      const siblings = imported(only, sources).filter((path) => dirname(path) === dirname(only))
      if (siblings.length >= 4) continue
      t.ok(importers(file, tests).length > 0, `${file} belongs to ${only}: fold it, or test it`)
    }
  },
)

t.test('an exported name stands once', async (t) => {
  const exported = /^export (?:async )?(?:function\*?|const|interface|type|class) (\w+)/gm
  const homes = new Map<string, Set<string>>()
  for (const [file, source] of sources) {
    for (const [, name = ''] of source.matchAll(exported)) {
      homes.set(name, (homes.get(name) ?? new Set()).add(file))
    }
  }
  // Every command is the export `command` of its file; what it does is told by the file's name.
  homes.delete('command')
  t.ok(homes.size > 300, 'the names are found')
  for (const [name, files] of homes) {
    t.equal(files.size, 1, `${name} stands in ${[...files].join(' and ')}`)
  }
})

t.test('no state outside a function', async (t) => {
  for (const [file, source] of sources) {
    const state = /^(export )?(let|var) .*|^(export )?const .* = new (Map|Set)(<.*>)?\(\)/m.exec(
      source,
    )
    t.equal(state?.[0], undefined, `${file} has no mutable state at its top level`)
  }
})

function readSources(pattern: string): Map<string, string> {
  const files = globSync(pattern, { cwd: root })
  return new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
}

function linesOf(file: string): number {
  return (sources.get(file)?.split('\n').length ?? 1) - 1
}

/** The files that `file` imports, each once. */
function imported(file: string, files: Map<string, string>): string[] {
  const paths = importsIn(files.get(file) ?? '').map((path) => resolve(file, path))
  return [...new Set(paths)]
}

/** `cache` for src/cache/store.ts, `errors` for src/errors.ts. */
function partOf(file: string): string {
  return file.split('/')[1]?.replace(/\.ts$/, '') ?? ''
}

function resolve(from: string, path: string): string {
  return normalize(join(dirname(from), path))
}

/** The relative paths that `source` imports, in order: static, type-only, re-exported and dynamic. */
function importsIn(source: string): string[] {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*/g, '$1')
  const forms = /(?:\bfrom\s*|\bimport\s*\(?\s*)(['"])(\.{1,2}\/[^'"]+)\1/g
  return [...code.matchAll(forms)].map((match) => match[2] ?? '')
}
