import Testing

@testable import Engine

@Suite struct ConnectionTableTests {
  /// What an idle connection takes, beside its place in the index.
  @Test func aConnectionIsSmall() { #expect(MemoryLayout<Connection>.size <= 1_024) }

  @Test func bothDirectionsFindTheSameConnection() throws {
    let one = Endpoint(address: try #require(IPAddress("10.0.0.1")), port: 80)
    let other = Endpoint(address: try #require(IPAddress("10.0.0.1")), port: 81)
    #expect(ConnectionKey(one, other) == ConnectionKey(other, one))
  }

  @Test func placesAreNotMistakenForEarlierOnes() throws {
    let pool = SlabPool(limit: 1 << 20)
    defer { pool.destroy() }
    var table = ConnectionTable()
    let one = Endpoint(address: try #require(IPAddress("fd00::1")), port: 1)
    let other = Endpoint(address: try #require(IPAddress("fd00::2")), port: 2)
    let slot = table.insert(
      Connection(id: 1, client: one, server: other, isSeenOpening: true, isPrepared: false, now: .zero))
    let place = table.place(slot)
    #expect(table.isCurrent(place) && table.find(ConnectionKey(other, one)) == slot)
    table.remove(slot, in: pool)
    #expect(!table.isCurrent(place) && table.count == 0)
    let again = table.insert(
      Connection(id: 2, client: one, server: other, isSeenOpening: true, isPrepared: false, now: .zero))
    #expect(again == slot && !table.isCurrent(place))
    table.remove(again, in: pool)
  }
}
