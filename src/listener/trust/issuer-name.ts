// Distinguished names (X.501) as keys of a map: two names that RFC 5280, section 7.1, calls the same
// have the same key, whatever kinds of strings, case and white space they are written with.
import { childrenOf, contentOf, elementAt, expect, oidOf, tags, type Element } from './der.ts'

/** `Name ::= SEQUENCE OF RelativeDistinguishedName`, DER; throws an Error where it is none. */
export function nameKey(der: Buffer): string {
  const parts = childrenOf(der, expect(elementAt(der, 0), tags.sequence))
  return JSON.stringify(parts.map((part) => partKey(der, expect(part, tags.set))))
}

/** The order within a set says nothing. */
function partKey(der: Buffer, part: Element): string[] {
  const keys = childrenOf(der, part).map((attribute) => {
    const [type, value] = childrenOf(der, expect(attribute, tags.sequence))
    if (value === undefined) throw new Error('has a name without a value')
    return `${oidOf(der, expect(type, tags.objectIdentifier))}=${valueKey(der, value)}`
  })
  return keys.sort()
}

/** Prepared as RFC 4518 has it, but for characters that no authority has in its name. */
function valueKey(der: Buffer, value: Element): string {
  const text = textOf(contentOf(der, value), value.tag)
  if (text === undefined) return `#${der.toString('hex', value.at, value.to)}`
  return text.normalize('NFKC').toLowerCase().trim().replaceAll(/\s+/g, ' ')
}

function textOf(content: Buffer, tag: number): string | undefined {
  switch (tag) {
    case tags.utf8String:
      return content.toString('utf8')
    case tags.printableString:
    case tags.ia5String:
    case tags.teletexString:
      return content.toString('latin1')
    case tags.bmpString:
      return content.length % 2 === 0
        ? Buffer.from(content).swap16().toString('utf16le')
        : undefined
    default:
      return undefined
  }
}
