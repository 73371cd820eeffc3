// Every example is a valid config, and so is every one in the documents.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../src/config/load.ts'

const root = join(import.meta.dirname, '..')

for (const file of globSync('examples/*.yaml', { cwd: root })) {
  t.test(file, async (t) => {
    const config = await loadConfig(join(root, file))
    t.ok(Object.keys(config.upstreams).length > 0)
    t.match(readFileSync(join(root, file), 'utf8'), /^# \S.*\./, 'says what it is for')
  })
}

for (const file of globSync(['README.md', 'docs/**/*.md'], { cwd: root })) {
  const text = readFileSync(join(root, file), 'utf8')
  const blocks = [...text.matchAll(/^```yaml\n(listen:.*?)^```$/gms)]
  for (const [index, [, yaml = '']] of blocks.entries()) {
    t.test(`${file}, config ${index + 1}`, async (t) => {
      const folder = t.testdir({ 'gateway.yaml': yaml })
      t.ok(await loadConfig(join(folder, 'gateway.yaml')))
    })
  }
}
