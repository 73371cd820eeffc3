// Host patterns of the config (`redirects`, `realms`): `*` stands for any run of characters.

/**
 * Whether a URL's host matches one of `patterns`. A pattern without a port means the default port
 * of the URL's scheme.
 */
export function hostMatcher(patterns: readonly string[]): (url: URL) => boolean {
  const compiled = patterns.map((pattern) => {
    const escaped = pattern.replaceAll(/[.[\]]/g, String.raw`\$&`)
    return new RegExp(`^${escaped.replaceAll(/\*+/g, '[a-z0-9._-]*')}$`)
  })
  return (url) => compiled.some((pattern) => pattern.test(url.host))
}
