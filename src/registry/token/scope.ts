// Scopes of the distribution token specification: `repository:library/alpine:pull,push`.
import type { AccessEntry } from '../../identity/identity.ts'

/** Scopes in one request; the rest is not looked at. */
const most = 100

/** What is asked for; a text that is no scope is left out. */
export function parseScopes(texts: readonly string[]): AccessEntry[] {
  return texts
    .flatMap((text) => text.split(' '))
    .filter((text) => text !== '')
    .slice(0, most)
    .flatMap((text) => {
      // The name may have a colon as well: a registry's port.
      const first = text.indexOf(':')
      const last = text.lastIndexOf(':')
      if (first <= 0 || last <= first + 1) return []
      const actions = text
        .slice(last + 1)
        .split(',')
        .filter((action) => action !== '')
      return [{ type: text.slice(0, first), name: text.slice(first + 1, last), actions }]
    })
}

/** What is granted of it: pulls that `mayPull` allows, and the catalog, which shows only those. */
export function grant(
  asked: readonly AccessEntry[],
  mayPull: (name: string) => boolean,
): AccessEntry[] {
  const granted = asked.flatMap(({ type, name, actions }): AccessEntry[] => {
    if (type === 'registry' && name === 'catalog' && actions.includes('*')) {
      return [{ type, name, actions: ['*'] }]
    }
    const wanted = actions.includes('pull') || actions.includes('*')
    return type === 'repository' && wanted && mayPull(name)
      ? [{ type, name, actions: ['pull'] }]
      : []
  })
  return [...new Map(granted.map((entry) => [`${entry.type}:${entry.name}`, entry])).values()]
}

export function formatScopes(entries: readonly AccessEntry[]): string {
  return entries.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' ')
}
