import t from 'tap'
import { printable, printableJson, printableLines } from '../../src/rules/printable.ts'

t.test('what steers a terminal is shown', async (t) => {
  const cases: Record<string, string> = {
    'plain, with ümlauts and 漢字': 'plain, with ümlauts and 漢字',
    '\u001b[2J': String.raw`\u001b[2J`,
    'a\nb\tc\rd': String.raw`a\nb\tc\rd`,
    '\u0000\u007f\u009b': String.raw`\u0000\u007f\u009b`,
    'left\u202eright\u2066\u200b': String.raw`left\u202eright\u2066\u200b`,
    'line\u2028break\u2029': String.raw`line\u2028break\u2029`,
    '\u{e0041}': String.raw`\udb40\udc41`,
  }
  for (const [given, shown] of Object.entries(cases)) t.equal(printable(given), shown)
  t.equal(printableLines('a\n\tb\u001b'), 'a\n\tb\\u001b')
})

t.test('JSON stays what it was', async (t) => {
  const value = { name: 'a\u001b\u009b\u202e\u{e0041}\n', list: [1, 'ü'] }
  t.same(JSON.parse(printableJson(value)), value)
  t.match(printableJson(value), /^[\x20-\x7eü\n]+$/)
})
