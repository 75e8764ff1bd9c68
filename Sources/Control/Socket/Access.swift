import Glibc

/// Who may speak to the daemon: root, the daemon's own user, and the members of one group.
///
/// The socket's permissions say the same; this check stands behind them, should somebody change those.
struct Access: Sendable {
  /// The group whose members may.
  static let groupName = "flowos"

  var user: uid_t
  var group: gid_t?

  /// The rule for this process on this system.
  static func current() -> Access { Access(user: geteuid(), group: SystemGroup.identifier(of: groupName)) }

  func admits(_ peer: PeerCredentials) -> Bool {
    peer.user == 0 || peer.user == user || group.map(peer.groups.contains) ?? false
  }
}
