// Reads which certificates of its issuer a revocation list is for (RFC 5280, section 5.2.5).
import { childrenOf, encodingOf, expect, tags, type Element } from './der.ts'

export interface Coverage {
  certificates: 'all' | 'clients' | 'authorities'
  /** Where the list is published, as hex of its DER; '' where it does not say. */
  point: string
}

export const everything: Coverage = { certificates: 'all', point: '' }

/** The context-specific tags of `IssuingDistributionPoint`. */
const fields = {
  point: 0xa0,
  onlyUsers: 0x81,
  onlyAuthorities: 0x82,
  someReasons: 0x83,
  indirect: 0x84,
  onlyAttributes: 0x85,
} as const

/**
 * What an `IssuingDistributionPoint` says. Throws an Error for a list that is incomplete for the
 * certificates that it is for, or has those of other authorities.
 */
export function coverageOf(der: Buffer, element: Element): Coverage {
  const said = new Map(
    childrenOf(der, expect(element, tags.sequence)).map((field) => [field.tag, field]),
  )
  const isTrue = (tag: number) => {
    const field = said.get(tag)
    return field !== undefined && der[field.from] !== 0
  }
  const known: readonly number[] = Object.values(fields)
  if ([...said.keys()].some((tag) => !known.includes(tag))) {
    throw new Error('has an issuing distribution point that is not understood')
  }
  if (said.has(fields.someReasons)) {
    throw new Error('is for some reasons of revocation only: use complete ones')
  }
  if (isTrue(fields.indirect)) throw new Error('is an indirect list: use direct ones')
  const [users, authorities] = [isTrue(fields.onlyUsers), isTrue(fields.onlyAuthorities)]
  if (isTrue(fields.onlyAttributes) || (users && authorities)) {
    throw new Error('is not for certificates of clients or authorities')
  }
  const point = said.get(fields.point)
  return {
    certificates: users ? 'clients' : authorities ? 'authorities' : 'all',
    point: point === undefined ? '' : encodingOf(der, point).toString('hex'),
  }
}
