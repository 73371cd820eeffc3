import { spawnSync } from 'node:child_process'
import t from 'tap'
import { shellWord } from '../../src/rules/shell-word.ts'

t.test('a shell reads back what was written, and runs none of it', async (t) => {
  const texts = [
    'plain',
    '/a/b-c_1.2:3',
    '',
    "it's",
    '$(id)',
    '`id`',
    'a b',
    '*',
    'a\nb',
    '~',
    '"$HOME"',
  ]
  for (const text of texts) {
    const { stdout } = spawnSync('sh', ['-c', `printf %s ${shellWord(text)}`], { encoding: 'utf8' })
    t.equal(stdout, text)
  }
  t.equal(shellWord('docker.io/library/alpine:latest'), 'docker.io/library/alpine:latest')
})
