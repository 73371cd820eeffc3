// A build as `npm run build` makes it, but that types are stripped instead of compiled away, which takes a second.
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  globSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '../..')

/** Makes it in `folder`; returns the path of what has been built. */
export function makeBuild(folder: string): string {
  const dist = join(folder, 'dist')
  for (const file of globSync('**/*', { cwd: join(root, 'src'), withFileTypes: true })) {
    if (!file.isFile()) continue
    const from = join(file.parentPath, file.name)
    const to = join(dist, from.slice(join(root, 'src').length))
    mkdirSync(dirname(to), { recursive: true })
    if (!file.name.endsWith('.ts') || file.name.endsWith('.d.ts')) copyFileSync(from, to)
    else writeFileSync(to.replace(/\.ts$/, '.js'), compiled(readFileSync(from, 'utf8')))
  }
  for (const name of ['package.json', 'docs', 'node_modules']) {
    symlinkSync(join(root, name), join(folder, name))
  }
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(root, 'scripts/schemas-as-data.ts'), dist],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(stderr)
  return dist
}

function compiled(source: string): string {
  return stripTypeScriptTypes(source).replaceAll(
    /((?:from|import)\s*\(?\s*'\.{1,2}\/[^']*)\.ts'/g,
    "$1.js'",
  )
}
