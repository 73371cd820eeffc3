import t from 'tap'
import { formatScopes, grant, parseScopes } from '../../../src/registry/token/scope.ts'

t.test('scopes as clients write them', async (t) => {
  t.same(parseScopes(['repository:library/alpine:pull,push registry:catalog:*']), [
    { type: 'repository', name: 'library/alpine', actions: ['pull', 'push'] },
    { type: 'registry', name: 'catalog', actions: ['*'] },
  ])
  t.same(parseScopes(['repository:registry.local:5000/app:pull']), [
    { type: 'repository', name: 'registry.local:5000/app', actions: ['pull'] },
  ])
  t.same(parseScopes(['', 'x', 'a:b', ':a:b', 'repository::pull']), [])
  t.equal(parseScopes([Array.from({ length: 500 }, () => 'a:b:c').join(' ')]).length, 100)
})

t.test('granted are pulls that are allowed, each once', async (t) => {
  const asked = parseScopes([
    'repository:good:pull,push repository:good:pull repository:star:* repository:bad:pull',
    'repository:good:push registry:catalog:* registry:other:* other:good:pull',
  ])
  const granted = grant(asked, (name) => name !== 'bad')
  t.equal(formatScopes(granted), 'repository:good:pull repository:star:pull registry:catalog:*')
  t.same(parseScopes([formatScopes(granted)]), granted)
})
