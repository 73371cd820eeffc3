// What the schema cannot say of `auth` and `policy`: who can show what is asked for, and where from.
import type { AuthConfig, IssuerConfig } from './access-schema.ts'
import { compileNamePattern } from '../rules/distinguished-name.ts'
import type { ConfigDraft, TellAt } from './draft.ts'

const longestSkew = 5 * 60_000

/** Tells what is wrong; `url` is the check that every URL of the config has to pass. */
export function checkAccessRules(
  { auth, policy, listen }: ConfigDraft,
  tell: TellAt,
  url: (at: readonly string[], text: string) => URL | undefined,
): void {
  const certificates = listen.tls.clientAuth !== 'none'
  checkRequire(auth, certificates, tell)
  if (auth.realm !== undefined) url(['auth', 'realm'], auth.realm)
  for (const [index, issuer] of auth.issuers.entries()) {
    checkIssuer(issuer, ['auth', 'issuers', String(index)], tell, url)
  }
  checkNamesOfIssuers(auth, tell)
  if (
    auth.tokenService !== undefined &&
    auth.tokenService.htpasswd === undefined &&
    auth.issuers.length === 0 &&
    !certificates
  ) {
    const message =
      'has nobody to give a token to: set htpasswd, or listen.tls.clientAuth for certificates'
    tell(['auth', 'tokenService'], message, 'absent')
  }
  checkNamesOfRules(policy.rules, tell)
  checkSubjects(policy.rules, tell)
}

function checkRequire(auth: AuthConfig, certificates: boolean, tell: TellAt): void {
  const tokens = auth.issuers.length > 0 || auth.tokenService !== undefined
  const at = ['auth', 'require']
  if ((auth.require === 'certificate' || auth.require === 'all') && !certificates) {
    tell(at, `is ${auth.require}: set listen.tls.clientAuth to optional or required`, 'absent')
  }
  if ((auth.require === 'token' || auth.require === 'all') && !tokens) {
    tell(at, `is ${auth.require}: set auth.issuers or auth.tokenService`, 'absent')
  }
  if (auth.require === 'any' && !tokens && !certificates) {
    const message = 'is any: set listen.tls.clientAuth, auth.issuers or auth.tokenService'
    tell(at, message, 'absent')
  }
}

function checkIssuer(
  // A key that is missing is told by the schema; the rest is looked at all the same.
  { jwks = '', jwksCa, clockSkew }: Partial<IssuerConfig> & Pick<IssuerConfig, 'clockSkew'>,
  at: readonly string[],
  tell: TellAt,
  url: (at: readonly string[], text: string) => URL | undefined,
): void {
  const remote = jwks.includes('://')
  // The query is the issuer's own business.
  const parsed = remote ? url([...at, 'jwks'], jwks.split('?', 1)[0] ?? '') : undefined
  if (parsed?.protocol === 'http:') tell([...at, 'jwks'], 'must be https: the keys are trusted')
  if (!remote && jwksCa !== undefined) tell([...at, 'jwksCa'], 'has no effect on a file in jwks')
  if (clockSkew > longestSkew) tell([...at, 'clockSkew'], 'must be five minutes at most')
}

function checkNamesOfIssuers({ issuers, tokenService }: AuthConfig, tell: TellAt): void {
  const names = issuers.map(({ issuer }: Partial<IssuerConfig>) => issuer)
  for (const [index, name] of names.entries()) {
    const at = ['auth', 'issuers', String(index), 'issuer']
    if (name === undefined) continue
    if (names.indexOf(name) < index) tell(at, 'is there already: keep one of them')
    else if (name === tokenService?.issuer) tell(at, 'is the name of auth.tokenService.issuer too')
  }
}

function checkNamesOfRules(rules: ConfigDraft['policy']['rules'], tell: TellAt): void {
  const names = rules.map(({ name }) => name)
  for (const [index, name] of names.entries()) {
    if (name !== undefined && names.indexOf(name) < index) {
      tell(['policy', 'rules', String(index), 'name'], 'is the name of another rule already')
    }
  }
}

/** A pattern that is no distinguished name would match nobody, and a rule that denies would be void. */
function checkSubjects(rules: ConfigDraft['policy']['rules'], tell: TellAt): void {
  for (const [index, { who }] of rules.entries()) {
    if (who?.subject === undefined || who.issuer !== undefined) continue
    // What is no text is told by the schema, and left out.
    const patterns: (string | undefined)[] = who.subject
    for (const [at, pattern] of patterns.entries()) {
      if (pattern === undefined) continue
      if (compileNamePattern(pattern) !== undefined) continue
      const message = `must be parts such as CN=edge-*,O=Example or *,O=Example, and ${pattern} is not`
      tell(['policy', 'rules', String(index), 'who', 'subject', String(at)], message)
    }
  }
}
