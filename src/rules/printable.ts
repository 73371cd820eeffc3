// Makes foreign text safe for a terminal: what an archive, a registry or a client chose as a name or
// a message must neither steer the terminal nor pass for a line of ours.

/** Control and format characters, which steer a terminal, hide text or turn its direction. */
const steering = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** `text` on one line, with every character that steers as JSON would escape it: `\n`, `\u001b`. */
export function printable(text: string): string {
  return text.replace(steering, escaped)
}

/** The same for a text of several lines, such as a stack: its line breaks and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(steering, (character) =>
    character === '\n' || character === '\t' ? character : escaped(character),
  )
}

/** The JSON of `value`, indented: means the same to a program, and steers no terminal. */
export function printableJson(value: unknown): string {
  return printableLines(JSON.stringify(value, null, 2))
}

function escaped(character: string): string {
  const short = JSON.stringify(character).slice(1, -1)
  if (short !== character) return short
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at))
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('')
}
