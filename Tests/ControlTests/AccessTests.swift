import Testing

@testable import Control

@Suite("Who may speak")
struct AccessTests {
  @Test(
    "Root, the daemon's user and the group's members, by their primary group or another",
    arguments: [
      (0, [0], true), (100, [100], true), (7, [7], false), (7, [55], true), (7, [7, 8, 55], true), (7, [], false),
    ] as [(UInt32, [UInt32], Bool)])
  func admits(user: UInt32, groups: [UInt32], isAdmitted: Bool) {
    let access = Access(user: 100, group: 55)
    #expect(access.admits(PeerCredentials(user: user, groups: groups)) == isAdmitted)
  }

  @Test("Without the group, its number opens nothing")
  func noGroup() {
    #expect(!Access(user: 100, group: nil).admits(PeerCredentials(user: 7, groups: [0])))
  }
}
