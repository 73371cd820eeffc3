// The licences of the packages that a gateway runs with: only those that allow to pass it on as a
// whole under Apache-2.0. And which of all packages may run a script when they are installed.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

interface Locked {
  version: string
  license?: string
  dev?: boolean
  hasInstallScript?: boolean
}

interface Package {
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
  allowScripts: Record<string, boolean>
}

const root = join(import.meta.dirname, '..')
const read = (file: string): unknown => JSON.parse(readFileSync(join(root, file), 'utf8'))
const { packages } = read('package-lock.json') as { packages: Record<string, Locked> }
const { dependencies, devDependencies, allowScripts } = read('package.json') as Package

const allowed = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'MIT',
])

/** Whether one of the licences of an SPDX expression without AND is allowed. */
function isAllowed(expression: string): boolean {
  return expression
    .replaceAll(/[()]/g, '')
    .split(' OR ')
    .some((licence) => allowed.has(licence))
}

t.test('every package that a gateway runs with has a licence that allows it', async (t) => {
  t.notOk(isAllowed('GPL-3.0-only'))
  t.ok(isAllowed('(BSD-3-Clause OR GPL-2.0)'))
  const running = Object.entries(packages).filter(([name, { dev }]) => name !== '' && !dev)
  t.ok(running.length > 50, 'they are found')
  for (const [name, { license = 'none' }] of running) {
    t.ok(isAllowed(license), `${name}: ${license}`)
  }
})

t.test('versions are exact, so that what was tested is what runs', async (t) => {
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    t.equal(version, packages[`node_modules/${name}`]?.version, name)
  }
})

t.test('a package runs a script when it is installed only where it is named', async (t) => {
  for (const [path, { hasInstallScript }] of Object.entries(packages)) {
    if (hasInstallScript !== true) continue
    const name = path.replace(/^.*node_modules\//, '')
    t.ok(allowScripts[name] === true, `${name} has one`)
  }
})
