"""The words that the translation skill builds its sentences from, in English, French, German and Spanish."""

from typing import NamedTuple


class Noun(NamedTuple):
    """A thing; each foreign word is led by its gender (m, f or n) and a space."""

    en: str
    fr: str
    de: str
    es: str


class Subject(NamedTuple):
    """Who does it. ``form`` indexes verb forms: 0 I, 1 he, 2 we, 3 they."""

    en: str
    fr: str
    de: str
    es: str
    form: int


class Verb(NamedTuple):
    """A transitive verb that takes any thing as its object.

    ``en``: base, third person, past. ``fr``: the four present forms, infinitive, participle. ``de``: the same.
    ``es``: the four present forms, infinitive, the four preterite forms. The perfect takes avoir and haben.
    """

    en: str
    fr: str
    de: str
    es: str


class Adjective(NamedTuple):
    """``fr``: masculine, feminine (with a leading ``<`` if it stands before its noun); ``de``: stem; ``es``: m, f."""

    en: str
    fr: str
    de: str
    es: str


class Phrase(NamedTuple):
    """A whole phrase that never changes, such as a place or a time."""

    en: str
    fr: str
    de: str
    es: str


NOUNS = tuple(
    Noun(*line.split("|"))
    for line in """\
book|m livre|n Buch|m libro
car|f voiture|n Auto|m coche
bag|m sac|f Tasche|f bolsa
chair|f chaise|m Stuhl|f silla
table|f table|m Tisch|f mesa
lamp|f lampe|f Lampe|f lámpara
bicycle|m vélo|n Fahrrad|f bicicleta
clock|f horloge|f Uhr|m reloj
coat|m manteau|m Mantel|m abrigo
umbrella|m parapluie|m Regenschirm|m paraguas
key|f clé|m Schlüssel|f llave
map|f carte|f Karte|m mapa
hat|m chapeau|m Hut|m sombrero
guitar|f guitare|f Gitarre|f guitarra
cup|f tasse|f Tasse|f taza
camera|m appareil photo|f Kamera|f cámara
ring|f bague|m Ring|m anillo
suitcase|f valise|m Koffer|f maleta
shirt|f chemise|n Hemd|f camisa
mirror|m miroir|m Spiegel|m espejo
knife|m couteau|n Messer|m cuchillo
carpet|m tapis|m Teppich|f alfombra
newspaper|m journal|f Zeitung|m periódico
boat|m bateau|n Boot|m barco
dress|f robe|n Kleid|m vestido
bottle|f bouteille|f Flasche|f botella
picture|f image|n Bild|f imagen
piano|m piano|n Klavier|m piano
basket|m panier|m Korb|f cesta
box|f boîte|f Schachtel|f caja""".splitlines()
)

SUBJECTS = tuple(
    Subject(en, fr, de, es, int(form))
    for en, fr, de, es, form in (
        line.split("|")
        for line in """\
I|je|ich|yo|0
he|il|er|él|1
she|elle|sie|ella|1
we|nous|wir|nosotros|2
they|ils|sie|ellos|3
the teacher|le professeur|der Lehrer|el profesor|1
the neighbour|la voisine|die Nachbarin|la vecina|1
the doctor|le médecin|der Arzt|el médico|1
my sister|ma sœur|meine Schwester|mi hermana|1
my brother|mon frère|mein Bruder|mi hermano|1
his mother|sa mère|seine Mutter|su madre|1
our friends|nos amis|unsere Freunde|nuestros amigos|3
the children|les enfants|die Kinder|los niños|3
my parents|mes parents|meine Eltern|mis padres|3
the tourists|les touristes|die Touristen|los turistas|3
the artist|l'artiste|der Künstler|el artista|1
the student|l'étudiante|die Studentin|la estudiante|1
Anna|Anna|Anna|Anna|1
Paul|Paul|Paul|Paul|1
Clara and David|Clara et David|Clara und David|Clara y David|3""".splitlines()
    )
)

VERBS = tuple(
    Verb(*line.split("|"))
    for line in """\
buy buys bought|achète achète achetons achètent acheter acheté|kaufe kauft kaufen kaufen kaufen gekauft|\
compro compra compramos compran comprar compré compró compramos compraron
see sees saw|vois voit voyons voient voir vu|sehe sieht sehen sehen sehen gesehen|\
veo ve vemos ven ver vi vio vimos vieron
sell sells sold|vends vend vendons vendent vendre vendu|verkaufe verkauft verkaufen verkaufen verkaufen verkauft|\
vendo vende vendemos venden vender vendí vendió vendimos vendieron
find finds found|trouve trouve trouvons trouvent trouver trouvé|finde findet finden finden finden gefunden|\
encuentro encuentra encontramos encuentran encontrar encontré encontró encontramos encontraron
lose loses lost|perds perd perdons perdent perdre perdu|verliere verliert verlieren verlieren verlieren verloren|\
pierdo pierde perdemos pierden perder perdí perdió perdimos perdieron
choose chooses chose|choisis choisit choisissons choisissent choisir choisi|\
wähle wählt wählen wählen wählen gewählt|elijo elige elegimos eligen elegir elegí eligió elegimos eligieron
draw draws drew|dessine dessine dessinons dessinent dessiner dessiné|\
zeichne zeichnet zeichnen zeichnen zeichnen gezeichnet|\
dibujo dibuja dibujamos dibujan dibujar dibujé dibujó dibujamos dibujaron
bring brings brought|apporte apporte apportons apportent apporter apporté|\
bringe bringt bringen bringen bringen gebracht|\
traigo trae traemos traen traer traje trajo trajimos trajeron""".splitlines()
)

ADJECTIVES = tuple(
    Adjective(*line.split("|"))
    for line in """\
red|rouge rouge|rot|rojo roja
green|vert verte|grün|verde verde
blue|bleu bleue|blau|azul azul
black|noir noire|schwarz|negro negra
white|blanc blanche|weiß|blanco blanca
yellow|jaune jaune|gelb|amarillo amarilla
small|<petit petite|klein|pequeño pequeña
big|<grand grande|groß|grande grande
modern|moderne moderne|modern|moderno moderna
expensive|cher chère|teuer|caro cara
cheap|bon_marché bon_marché|billig|barato barata
heavy|lourd lourde|schwer|pesado pesada
light|léger légère|leicht|ligero ligera
pretty|<joli jolie|hübsch|bonito bonita
round|rond ronde|rund|redondo redonda
strange|étrange étrange|seltsam|extraño extraña
clean|propre propre|sauber|limpio limpia
dirty|sale sale|schmutzig|sucio sucia""".splitlines()
)

COLOURS = 6
"""How many of the adjectives, counted from the first, are colours."""

TIMES = tuple(
    Phrase(*line.split("|"))
    for line in """\
today|aujourd'hui|heute|hoy
every day|tous les jours|jeden Tag|todos los días
often|souvent|oft|a menudo
every week|chaque semaine|jede Woche|cada semana
now|maintenant|jetzt|ahora
in the morning|le matin|am Morgen|por la mañana
on Sundays|le dimanche|sonntags|los domingos""".splitlines()
)

PAST_TIMES = tuple(
    Phrase(*line.split("|"))
    for line in """\
yesterday|hier|gestern|ayer
last week|la semaine dernière|letzte Woche|la semana pasada
last year|l'année dernière|letztes Jahr|el año pasado
on Monday|lundi|am Montag|el lunes
three days ago|il y a trois jours|vor drei Tagen|hace tres días""".splitlines()
)

PLACES = tuple(
    Phrase(*line.split("|"))
    for line in """\
in the kitchen|dans la cuisine|in der Küche|en la cocina
in the garden|dans le jardin|im Garten|en el jardín
at the market|au marché|auf dem Markt|en el mercado
in the city|en ville|in der Stadt|en la ciudad
at the station|à la gare|am Bahnhof|en la estación
in the old house|dans la vieille maison|im alten Haus|en la casa vieja
near the church|près de l'église|in der Nähe der Kirche|cerca de la iglesia
in front of the school|devant l'école|vor der Schule|delante de la escuela
behind the museum|derrière le musée|hinter dem Museum|detrás del museo
on the beach|sur la plage|am Strand|en la playa
in the village|au village|im Dorf|en el pueblo
in the library|à la bibliothèque|in der Bibliothek|en la biblioteca""".splitlines()
)

FIXED = tuple(
    Phrase(*line.split("|"))
    for line in """\
The weather is beautiful today.|Il fait beau aujourd'hui.|Das Wetter ist heute schön.|Hoy hace buen tiempo.
It is raining.|Il pleut.|Es regnet.|Está lloviendo.
I am very tired.|Je suis très fatigué.|Ich bin sehr müde.|Estoy muy cansado.
We are hungry.|Nous avons faim.|Wir haben Hunger.|Tenemos hambre.
The train arrives at eight o'clock.|Le train arrive à huit heures.|Der Zug kommt um acht Uhr an.|\
El tren llega a las ocho.
The museum is closed on Mondays.|Le musée est fermé le lundi.|Das Museum ist montags geschlossen.|\
El museo está cerrado los lunes.
Thank you very much for your help.|Merci beaucoup pour votre aide.|Vielen Dank für Ihre Hilfe.|\
Muchas gracias por su ayuda.
My name is Martin and I live in Berlin.|Je m'appelle Martin et j'habite à Berlin.|\
Ich heiße Martin und wohne in Berlin.|Me llamo Martin y vivo en Berlín.
The soup is too hot.|La soupe est trop chaude.|Die Suppe ist zu heiß.|La sopa está demasiado caliente.
She speaks three languages.|Elle parle trois langues.|Sie spricht drei Sprachen.|Ella habla tres idiomas.
The shops open at nine o'clock.|Les magasins ouvrent à neuf heures.|Die Geschäfte öffnen um neun Uhr.|\
Las tiendas abren a las nueve.
The dog is sleeping under the table.|Le chien dort sous la table.|Der Hund schläft unter dem Tisch.|\
El perro duerme debajo de la mesa.
We are going to the cinema tonight.|Nous allons au cinéma ce soir.|Wir gehen heute Abend ins Kino.|\
Vamos al cine esta noche.
He works in a hospital.|Il travaille dans un hôpital.|Er arbeitet in einem Krankenhaus.|\
Él trabaja en un hospital.
See you tomorrow!|À demain !|Bis morgen!|¡Hasta mañana!
The bread is still warm.|Le pain est encore chaud.|Das Brot ist noch warm.|El pan todavía está caliente.""".splitlines()
)
