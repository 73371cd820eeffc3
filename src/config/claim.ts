// Where a claim of a token is, as the config writes it, and what stands there.

/**
 * The strings at `claim`: a name, or a JSON pointer (RFC 6901) where it starts with `/`. A list
 * counts as its entries, numbers and booleans as their text, everything else as nothing.
 */
export function claimValues(claims: Readonly<Record<string, unknown>>, claim: string): string[] {
  const value = claim.startsWith('/') ? pointed(claims, claim) : own(claims, claim)
  const values: unknown[] = Array.isArray(value) ? value : [value]
  return values.flatMap((one) =>
    typeof one === 'string' || typeof one === 'number' || typeof one === 'boolean'
      ? [String(one)]
      : [],
  )
}

function pointed(claims: unknown, pointer: string): unknown {
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((value, part) => own(value, part), claims)
}

function own(object: unknown, key: string): unknown {
  return typeof object === 'object' && object !== null && Object.hasOwn(object, key)
    ? (object as Record<string, unknown>)[key]
    : undefined
}
