"""Frequent words of other languages that are no English words: they tell that a text is not English."""

FOREIGN = frozenset(
    """
    der das und ist nicht ein eine einen einem ich mit auf wie wer warum welche welcher kann wird sind haben sich auch
    oder aber bei nach zum zur vom durch ueber über für mein meine dein unser viel viele gibt bitte kein keine
    le les une des du et est pas que qui dans avec sur sont pour quel quelle quels comment pourquoi combien où mon votre
    vous nous je tu il elle ce cette ces mais ou au aux faire peut puis merci
    el los las uno una del es por para con como qué cuál cuándo dónde cuánto quién mi tu su yo puedo puede está hay pero
    sobre cómo muy más gracias quiero necesito
    gli di che è per sono come quando dove perché quanto quale posso puoi della nella mio mia il lo cosa grazie voglio
    um uma do da em não você meu minha quero preciso são dos das ao isso obrigado onde quanto qual
    het een van en niet met voor zijn hoe wat waar waarom kan ik je mijn deze naar ook maar wordt wanneer
    och att det som på är inte hur vad varför jag kan du min vi har av för till om
    jeg ikke hvordan hvad hva hvorfor er på og til med mitt
    jak co gdzie dlaczego czy jest nie się dla mój moje można kiedy ile jaki jaka
    nasıl nedir nerede neden ve bir bu için ne kadar benim
    miten mikä missä miksi on ja ei kuinka minun voin
    apa bagaimana di mana mengapa yang dan untuk saya ini itu dengan
    """.split()  # noqa: SIM905
) - frozenset(
    """
    on has had do as a an in no me so some to was die also all man war is it he she we you for and the of that be are
    or il om el la un du le des les con son per come dove pour sale sur mine er kan min vi har till co ne se tu ce
    ou es es mi su di je lo em um van co bin per as di
    """.split()  # noqa: SIM905
)
