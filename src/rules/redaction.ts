// Makes a text of somebody else fit to be told: what it shares with a secret is cut out, in whatever
// of the usual encodings, also where it is only a part; control characters go, and its length is bounded.

/** Characters in a row that a text must not share with a secret. */
const run = 6
/** What stands in the place of a part of a secret. */
const mark = '[redacted]'

/**
 * @param secrets whatever the text must not repeat: passwords, tokens, headers
 * @param longest characters of the result, the marks not counted
 */
export function redacted(text: string, secrets: Iterable<string>, longest = 300): string {
  const bounded = text.slice(0, longest + run)
  const hidden = new Uint8Array(bounded.length)
  for (const secret of secrets) {
    for (const form of formsOf(secret)) hide(lowerCase(bounded), lowerCase(form), hidden)
  }
  let result = ''
  for (let index = 0; index < Math.min(bounded.length, longest); index += 1) {
    if (hidden[index] === 0) result += bounded[index]
    else if (index === 0 || hidden[index - 1] === 0) result += mark
  }
  // oxlint-disable-next-line no-control-regex -- they are what must not be told
  return result.replaceAll(/[\s\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/g, ' ')
}

/**
 * Returns what tells whether a text has one of the secrets as a whole, in one of those encodings. Not of one that
 * is short: any text may have that by chance.
 */
export function secretFinder(secrets: Iterable<string>): (text: string) => boolean {
  const forms = [...secrets]
    .filter(({ length }) => length >= run)
    .flatMap(formsOf)
    .map(lowerCase)
  return (text) => {
    const lower = lowerCase(text)
    return forms.some((form) => lower.includes(form))
  }
}

/** Of ASCII only: the others may change their length. */
function lowerCase(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (part) => part.toLowerCase())
}

/** Marks every run of `text` that is also one of `secret`; of a short secret only the whole. */
function hide(text: string, secret: string, hidden: Uint8Array): void {
  if (secret.length === 0) return
  const length = Math.min(run, secret.length)
  for (let index = 0; index + length <= text.length; index += 1) {
    if (secret.includes(text.slice(index, index + length))) hidden.fill(1, index, index + length)
  }
}

/** The ways in which a secret is repeated: as it is, and as URLs, JSON, HTML, base64 and hex have it. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  // Its base64 depends on what stands before it: three ways, without the characters that it shares.
  const encoded = [0, 1, 2].map((before) =>
    Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replaceAll('=', '')
      .slice(before === 0 ? 0 : before + 1, -1),
  )
  return [
    ...new Set([
      secret,
      encodeURIComponent(secret.toWellFormed()),
      JSON.stringify(secret).slice(1, -1),
      secret.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;'),
      ...encoded,
      ...encoded.map((text) => text.replaceAll('+', '-').replaceAll('/', '_')),
      ...encoded.map(encodeURIComponent),
      bytes.toString('hex'),
    ]),
  ]
}
