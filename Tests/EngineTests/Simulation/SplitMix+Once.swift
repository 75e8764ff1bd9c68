import ModuleTesting

extension SplitMix {
  /// True once in `count` on the average.
  mutating func once(in count: Int) -> Bool { count > 0 && Int.random(in: 0..<count, using: &self) == 0 }
}
