// The part of the config's schema that says who may do what and how much: `auth`, `policy`, `audit`, `listen.limits`.
import Type, { type Static } from 'typebox'
import {
  closed,
  count,
  duration,
  limit,
  oneOf,
  oneOrMore,
  path,
  section,
  text,
} from './schema-parts.ts'

/** Signatures that only the holder of a private key can make. */
const algorithms = [
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
] as const

const Issuer = Type.Object(
  {
    issuer: text('The `iss` claim that its tokens carry, character by character.'),
    audience: oneOrMore('The `aud` claim: a token must name one of these.', {
      mustBe: 'the audience of the tokens, such as portcullis',
    }),
    jwks: path('The JSON Web Key Set with its public keys: an https URL, or a file.', {
      mayBeUrl: true,
      mustBe: 'an https URL or the path of a file',
    }),
    jwksCa: Type.Optional(
      path('PEM file of the authorities to trust for the URL in `jwks`, for a private CA.'),
    ),
    algorithms: Type.Array(oneOf([...algorithms], { description: 'One algorithm.' }), {
      default: ['ES256'],
      description: 'The signature algorithms that its tokens may have.',
    }),
    typ: Type.Optional(text('The `typ` header that its tokens must have, such as `at+jwt`.')),
    clockSkew: duration({
      default: '30s',
      description: 'How far its clock and this one may be apart; five minutes at most.',
    }),
    groupsClaim: text(
      'The claim with the groups of the caller: a name, or a JSON pointer such as `/realm/roles`.',
      { default: 'groups' },
    ),
  },
  { ...closed, description: 'One issuer.' },
)

const TokenService = Type.Object(
  {
    key: path(
      'File with the ES256 keys that sign tokens: made (mode 0600) where there is none, rewritten when they rotate.',
      { isWatched: false },
    ),
    issuer: text('The `iss` claim of its tokens, which `who.issuer` of a rule can name.', {
      default: 'portcullis',
    }),
    service: text('The name of this gateway in challenges and in the `aud` claim.', {
      default: 'portcullis',
    }),
    ttl: limit({ default: '5m', description: 'How long an access token is good for.' }),
    refreshTtl: limit({ default: '30d', description: 'How long a refresh token is good for.' }),
    rotateEvery: limit({
      default: '90d',
      description:
        'The age at which the signing key is replaced; tokens of the one before are accepted still.',
    }),
    htpasswd: Type.Optional(
      path('File of `user:hash` lines, bcrypt only (`htpasswd -B`), for `docker login`.'),
    ),
    bindToCertificate: Type.Boolean({
      default: true,
      description:
        'Bind a token that is asked for with a client certificate to that certificate (RFC 8705).',
    }),
  },
  { ...closed, description: 'The built-in token endpoint, `GET` and `POST /token`.' },
)

export const Auth = Type.Object(
  {
    require: oneOf(['none', 'certificate', 'token', 'any', 'all'], {
      default: 'none',
      description:
        'What a caller must show: nothing, a client certificate, a bearer token, either of them, or both.',
    }),
    issuers: Type.Array(Issuer, {
      default: [],
      description: 'Who may sign bearer tokens, beside the built-in token service.',
    }),
    realm: Type.Optional(
      text(
        'The URL of the token service that a challenge names, where it is not `https://<Host header>/token`.',
      ),
    ),
    tokenService: Type.Optional(TokenService),
  },
  section('Who is calling.'),
)

const names = (description: string) => oneOrMore(description, { mustBe: 'a pattern or a list' })

const Who = Type.Object(
  {
    cn: Type.Optional(names('Common name of the client certificate.')),
    dns: Type.Optional(names('A DNS name of the certificate; `*` stands within one label.')),
    uri: Type.Optional(names('A URI of the certificate; `spiffe://…` only of a valid X.509-SVID.')),
    subject: Type.Optional(
      names(
        'Subject of the certificate, part by part as RFC 4514 writes them (`CN=edge-*,O=Example`): in a value `*` is any run of characters, as a part any other parts, `**` also none. Beside `issuer`, the `sub` of the token.',
      ),
    ),
    issuer: Type.Optional(names('Issuer of the token.')),
    group: Type.Optional(names('A group that the token names.')),
    claim: Type.Optional(
      Type.Record(Type.String(), names('The value of one claim, or one of its values.'), {
        description:
          'Claims of the token, by name or JSON pointer such as `/kubernetes.io/namespace`.',
        keyPattern: '^.+$',
        keyMustBe: 'the name of a claim',
        keyLabel: 'claim',
      }),
    ),
    anonymous: Type.Optional(
      Type.Boolean({ description: '`true`: callers without any credential; `false`: all others.' }),
    ),
  },
  { ...closed, description: 'Whom the rule is for: all that is given must match.' },
)

const ruleActions: ['pull', 'list', 'token', 'admin', 'admin:read', 'admin:write'] = [
  'pull',
  'list',
  'token',
  'admin',
  'admin:read',
  'admin:write',
]

const Rule = Type.Object(
  {
    name: Type.Optional(text('What the log calls the rule; its place in the list by default.')),
    who: Type.Optional(Who),
    repositories: oneOrMore(
      'Patterns over `<upstream>/<repository>`; `*` stands within one segment, `**` for any number.',
      {
        default: ['**'],
        pattern: String.raw`^[a-z0-9._:\[\]*-]+(/[A-Za-z0-9._*-]+)*$`,
        mustBe: 'a pattern such as docker.io/library/* or registry.local/**',
      },
    ),
    actions: Type.Array(oneOf(ruleActions, { description: 'One action.' }), {
      default: ['pull', 'list', 'token'],
      description:
        '`pull`: manifests and blobs; `list`: tags and the catalog; `token`: a token for it; `admin:read`: the admin listener but for its health checks; `admin:write`: what changes something there; `admin`: both. Where no rule names any of these three, everybody may do both.',
    }),
    effect: oneOf(['allow', 'deny'], { default: 'allow', description: 'What a match decides.' }),
  },
  { ...closed, description: 'One rule.' },
)

export const PolicySchema = Type.Object(
  {
    default: oneOf(['allow', 'deny'], {
      default: 'allow',
      description: 'What is decided where no rule matches.',
    }),
    rules: Type.Array(Rule, {
      default: [],
      description: 'The rules in order: the first one that matches decides.',
    }),
  },
  section('Who may do what.'),
)

export const AuditSchema = Type.Object(
  {
    file: Type.Optional(
      path(
        'File that the audit lines go to instead of the log; `/dev/fd/3` is a descriptor. Opened anew by a reload, for log rotation.',
        // The gateway writes it: watching it would reload at every line.
        { isWatched: false },
      ),
    ),
    tagPulls: Type.Boolean({
      default: false,
      description:
        'Write an audit line for each pull of a tag too, when it has ended, beside those for refusals.',
    }),
  },
  section('The audit lines, which are written whatever `log.level` is.'),
)

export type AuthConfig = Static<typeof Auth>
export type IssuerConfig = Static<typeof Issuer>
export type TokenServiceConfig = Static<typeof TokenService>
export type PolicyConfig = Static<typeof PolicySchema>
export type RuleConfig = Static<typeof Rule>
export type WhoConfig = Static<typeof Who>

/** Each default is beyond what five hundred nodes behind one address need. */
export const ListenLimits = Type.Object(
  {
    connections: count('Open connections in all.', 20_000),
    connectionsPerAddress: count(
      'Open connections of one IPv4 address, or of one /64 network of IPv6 addresses.',
      5000,
    ),
    connectionsPerIdentity: count(
      'Open connections with requests of one certificate or token subject; of one address where there is neither.',
      5000,
    ),
    handshakes: count(
      'TLS handshakes that are not finished. Of more, the oldest is ended to make room.',
      2000,
    ),
    requestsPerConnection: count(
      'Requests that one connection may send ahead of its answers; they are worked on one after the other.',
      100,
    ),
    minRate: count(
      'Bytes per second that a client must take of an answer while some of it waits to be sent; a slower one loses its connection.',
      1024,
    ),
    minRateWindow: limit({ default: '5m', description: 'How long `minRate` is measured for.' }),
    requestsPerIdentity: count('Requests of one identity that are under way.', 5000),
    upstreamRequests: count(
      'Requests to one upstream that are under way; of those that wait, each identity has its turn.',
      128,
    ),
    upstreamRequestsPerIdentity: count(
      'Requests to upstreams, downloads among them, that one identity may have under way or waiting.',
      1000,
    ),
  },
  section('What one client may have, and all of them together. Beyond it: 429, or the end.'),
)

export type ListenLimits = Static<typeof ListenLimits>
